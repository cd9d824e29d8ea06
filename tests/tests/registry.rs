//! Plugins in a real registry: pushed, pulled, signed and checked.

use anyhow::Context as _;
use dpf_plugin_oci::{
    Client, Contents, Credentials, Digest, Error, PublicKey, Reference, Repository, SIZE_MAX,
    SigningKey, verify,
};
use dpf_tests::registry::{PASSWORD, Registry, USER};

fn client() -> Client {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(reqwest::Client::new())
}

fn repository(image: &str) -> anyhow::Result<Repository> {
    let reference: Reference = image.parse()?;
    Ok(client().repository(&reference, Credentials::none()))
}

fn keys() -> anyhow::Result<(SigningKey, Vec<PublicKey>)> {
    let pair = rcgen::KeyPair::generate()?;
    let private = SigningKey::from_pem(&pair.serialize_pem())?;
    Ok((private, PublicKey::all_from_pem(&pair.public_key_pem())?))
}

#[tokio::test]
async fn what_is_pushed_is_pulled() -> anyhow::Result<()> {
    let registry = Registry::start().await?;
    let component = b"\0asm\x0d\0\x01\0 a component".to_vec();
    let repository = repository(&registry.image("plugins/merge:1.0.0"))?;
    let pushed = repository
        .push(component.clone(), &Contents::default())
        .await?;
    assert_eq!(pushed.component, Digest::of(&component));

    let resolved = repository.resolve().await?;
    assert_eq!(resolved.manifest, pushed.manifest);
    assert_eq!(resolved.component, pushed.component);
    assert_eq!(repository.fetch(&resolved, SIZE_MAX).await?, component);
    let error = repository.fetch(&resolved, 4).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 4, .. }), "{error}");

    // Pinned by digest, and pushed again: the same bytes.
    let pinned = client().repository(&pushed.reference, Credentials::none());
    assert_eq!(pinned.resolve().await?.component, pushed.component);
    let again = repository.push(component, &Contents::default()).await?;
    assert_eq!(again.manifest, pushed.manifest);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_or_not_right_says_so() -> anyhow::Result<()> {
    let mut registry = Registry::start().await?;
    let missing = repository(&registry.image("plugins/none:1"))?
        .resolve()
        .await
        .unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    assert!(!missing.is_transient());

    let component = b"\0asm with a fault to come".to_vec();
    let image = registry.image("plugins/a:1");
    let pushed = repository(&image)?
        .push(component.clone(), &Contents::default())
        .await?;
    // Somebody who can write to the storage changes the component.
    let hex = pushed.component.hex();
    let blob = registry.data().join(format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ));
    let mut changed = component;
    changed[5] ^= 1;
    std::fs::write(&blob, changed).context("change the blob")?;
    let repository = repository(&image)?;
    let resolved = repository.resolve().await?;
    let error = repository.fetch(&resolved, SIZE_MAX).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");

    registry.stop().await?;
    let gone = repository.resolve().await.unwrap_err();
    assert!(gone.is_transient(), "{gone}");
    Ok(())
}

#[tokio::test]
async fn a_private_registry_wants_credentials() -> anyhow::Result<()> {
    let registry = Registry::start_private().await?;
    let reference: Reference = registry.image("plugins/a:1").parse()?;
    let anybody = client().repository(&reference, Credentials::none());
    let refused = anybody
        .push(vec![1], &Contents::default())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Answer { status: 401, .. }),
        "{refused}"
    );
    let wrong = Credentials::basic(registry.address(), USER, "wrong");
    let error = client()
        .repository(&reference, wrong)
        .push(vec![1], &Contents::default())
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("wrong"), "{error}");

    let credentials = Credentials::from_docker_config(registry.docker_config().as_bytes())?;
    let robot = client().repository(&reference, credentials);
    robot.push(vec![1], &Contents::default()).await?;
    let resolved = robot.resolve().await?;
    assert_eq!(robot.fetch(&resolved, SIZE_MAX).await?, [1]);
    assert!(!PASSWORD.is_empty());
    Ok(())
}

#[tokio::test]
async fn signatures_are_found_and_several_can_be_made() -> anyhow::Result<()> {
    let registry = Registry::start().await?;
    let repository = repository(&registry.image("plugins/a:1"))?;
    let pushed = repository.push(vec![1, 2], &Contents::default()).await?;
    assert!(repository.signatures(&pushed.manifest).await?.is_empty());

    let (first, first_public) = keys()?;
    let (second, second_public) = keys()?;
    let (_, other_public) = keys()?;
    repository.sign(&pushed.manifest, &first).await?;
    repository.sign(&pushed.manifest, &second).await?;
    let found = repository.signatures(&pushed.manifest).await?;
    assert_eq!(found.len(), 2);
    verify(&found, &first_public, &pushed.manifest)?;
    verify(&found, &second_public, &pushed.manifest)?;
    assert!(verify(&found, &other_public, &pushed.manifest).is_err());
    Ok(())
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_need_not_answer() -> anyhow::Result<()> {
    let mirror = Registry::start().await?;
    let original = Registry::start().await?;
    let reference: Reference = original.image("plugins/a:1").parse()?;
    client()
        .repository(&reference, Credentials::none())
        .push(vec![7], &Contents::default())
        .await?;
    let locations = reference.locations([mirror.address()])?;
    let mut answers = Vec::new();
    for location in &locations {
        let repository = client().repository(location, Credentials::none());
        answers.push(repository.resolve().await);
    }
    assert!(answers[0].as_ref().is_err_and(Error::is_not_found));
    assert_eq!(answers[1].as_ref().unwrap().component, Digest::of(&[7]));
    Ok(())
}
