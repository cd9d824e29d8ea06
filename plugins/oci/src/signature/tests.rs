//! The signatures in `tests/data` were made with openssl, from the bytes cosign signs.

use super::*;
use crate::KeyError;

const DATA: [(&str, &str, &str); 4] = [
    (
        "p256",
        include_str!("../../tests/data/p256.pub"),
        include_str!("../../tests/data/p256.sig"),
    ),
    (
        "p384",
        include_str!("../../tests/data/p384.pub"),
        include_str!("../../tests/data/p384.sig"),
    ),
    (
        "ed25519",
        include_str!("../../tests/data/ed25519.pub"),
        include_str!("../../tests/data/ed25519.sig"),
    ),
    (
        "rsa",
        include_str!("../../tests/data/rsa.pub"),
        include_str!("../../tests/data/rsa.sig"),
    ),
];
const PAYLOAD: &[u8] = include_bytes!("../../tests/data/payload.json");
const BUNDLE: &[u8] = include_bytes!("../../tests/data/bundle.json");

fn manifest() -> Digest {
    Digest::of(b"hello")
}

fn simple(payload: &[u8], signature: &str) -> Vec<Signature> {
    let mut layer = descriptor(SIMPLE_TYPE, payload);
    layer
        .annotations
        .insert(SIGNATURE_ANNOTATION.to_owned(), signature.to_owned());
    read(&layer, payload.to_vec())
}

fn keys(pem: &str) -> Vec<PublicKey> {
    PublicKey::all_from_pem(pem).unwrap()
}

#[test]
fn every_kind_of_key_verifies_its_own_signature_only() {
    for (name, pem, signature) in DATA {
        let signatures = simple(PAYLOAD, signature);
        verify(&signatures, &keys(pem), &manifest()).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (other, pem, _) in DATA.iter().filter(|(other, ..)| *other != name) {
            assert!(
                verify(&signatures, &keys(pem), &manifest()).is_err(),
                "{name} with {other}"
            );
        }
    }
}

#[test]
fn one_key_of_several_is_enough() {
    let all: String = DATA.iter().map(|(_, pem, _)| *pem).collect();
    let all = keys(&all);
    let signatures = simple(PAYLOAD, DATA[2].2);
    let key = verify(&signatures, &all, &manifest()).unwrap();
    assert_eq!(key.fingerprint(), all[2].fingerprint());
}

#[test]
fn a_copied_signature_is_refused_and_said_to_be_one() {
    let signatures = simple(PAYLOAD, DATA[0].2);
    let error = verify(&signatures, &keys(DATA[0].1), &Digest::of(b"other")).unwrap_err();
    assert!(matches!(error, VerifyError::NoMatch { other: true, .. }));
    assert!(error.to_string().contains("of something else"), "{error}");
}

#[test]
fn changed_payloads_and_signatures_are_refused() {
    let changed = String::from_utf8_lossy(PAYLOAD).replace("merge", "mergf");
    for (payload, signature) in [
        (changed.as_bytes(), DATA[0].2),
        (PAYLOAD, "AAAA"),
        (PAYLOAD, ""),
    ] {
        let signatures = simple(payload, signature);
        assert!(verify(&signatures, &keys(DATA[0].1), &manifest()).is_err());
    }
    assert!(simple(PAYLOAD, "not base64").is_empty());
}

#[test]
fn nothing_is_unsigned() {
    assert_eq!(
        verify(&[], &keys(DATA[0].1), &manifest()).unwrap_err(),
        VerifyError::Unsigned {
            manifest: manifest().to_string()
        }
    );
}

#[test]
fn bundles_verify_and_attestations_are_no_signatures() {
    let layer = descriptor("application/vnd.dev.sigstore.bundle.v0.3+json", BUNDLE);
    let signatures = read(&layer, BUNDLE.to_vec());
    verify(&signatures, &keys(DATA[0].1), &manifest()).unwrap();
    assert!(verify(&signatures, &keys(DATA[0].1), &Digest::of(b"other")).is_err());
    assert!(verify(&signatures, &keys(DATA[1].1), &manifest()).is_err());
    let other_type = String::from_utf8_lossy(BUNDLE).replace("in-toto", "on-toto");
    assert!(read(&layer, other_type.into_bytes()).is_empty());
    for junk in [&b"{}"[..], b"", b"[1]", b"{\"dsseEnvelope\":{}}"] {
        assert!(read(&layer, junk.to_vec()).is_empty());
    }
}

#[test]
fn what_we_sign_verifies() {
    for kind in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let key = SigningKey::from_pem(&pair.serialize_pem()).unwrap();
        let (layer, payload) = make("r.example.com/a", &manifest(), &key).unwrap();
        assert_eq!(layer.digest, Digest::of(&payload));
        let signatures = read(&layer, payload);
        verify(&signatures, &keys(&pair.public_key_pem()), &manifest()).unwrap();
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    assert_eq!(
        PublicKey::all_from_pem("nothing").unwrap_err(),
        KeyError::NoPublicKey
    );
    let malformed = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert!(matches!(
        PublicKey::all_from_pem(malformed).unwrap_err(),
        KeyError::PublicKey { number: 1, .. }
    ));
    let encrypted = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n";
    let error = SigningKey::from_pem(encrypted).unwrap_err();
    assert!(error.to_string().contains("it is encrypted"), "{error}");
}
