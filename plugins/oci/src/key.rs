//! Keys that sign plugins.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    PrivatePkcs8KeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
};
use std::fmt;
use webpki::RawPublicKeyEntity;

use crate::digest::Digest;

/// What a signature of cosign can be made with. An RSA key signs with PKCS #1 v1.5 and SHA-256, as cosign does.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 4] = [
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
];

/// A key that cannot be used. The key itself is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error(
        "no public key found: give one or more PEM blocks that begin with -----BEGIN PUBLIC KEY-----"
    )]
    NoPublicKey,
    /// One cannot be read.
    #[error("public key number {number} is malformed: {problem}")]
    PublicKey {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
    /// A key to sign with cannot be read.
    #[error(
        "the private key cannot be used: {problem} (give an unencrypted PKCS #8 PEM of an ECDSA P-256 or Ed25519 key, as openssl genpkey writes it)"
    )]
    PrivateKey {
        /// What is wrong.
        problem: String,
    },
    /// Signing failed.
    #[error("failed to sign")]
    Sign,
}

/// A public key: ECDSA P-256 or P-384, Ed25519, or RSA with 2048 bits and more.
#[derive(Clone)]
pub struct PublicKey {
    der: SubjectPublicKeyInfoDer<'static>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl PublicKey {
    /// Reads all keys of a PEM text.
    ///
    /// # Errors
    /// There is none, or one is malformed.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for (index, der) in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()).enumerate() {
            let wrong = |problem: String| KeyError::PublicKey {
                number: index + 1,
                problem,
            };
            let der = der.map_err(|error| wrong(error.to_string()))?;
            RawPublicKeyEntity::try_from(&der).map_err(|error| wrong(error.to_string()))?;
            keys.push(Self { der });
        }
        if keys.is_empty() {
            return Err(KeyError::NoPublicKey);
        }
        Ok(keys)
    }

    /// sha256 of the key in DER, to tell which key it was.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.der.as_ref())
    }

    /// Whether this key made this signature of this message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(&self.der) else {
            return false;
        };
        // Only the one that fits the kind of the key can succeed.
        ALGORITHMS
            .iter()
            .any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    }
}

/// A private key.
pub struct SigningKey(Kind);

enum Kind {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads a PKCS #8 PEM of an ECDSA P-256 or Ed25519 key that is not encrypted.
    ///
    /// # Errors
    /// It is encrypted, malformed or of another kind.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let wrong = |problem: &str| KeyError::PrivateKey {
            problem: problem.to_owned(),
        };
        if text.contains("ENCRYPTED") {
            return Err(wrong("it is encrypted"));
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| wrong("there is no block -----BEGIN PRIVATE KEY-----"))?;
        let der = der.secret_pkcs8_der();
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random)
            .map(Kind::Ecdsa)
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Kind::Ed25519))
            .map(Self)
            .map_err(|_| wrong("it is of another kind"))
    }

    /// Bytes of the public key, without its kind.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        match &self.0 {
            Kind::Ecdsa(key) => key.public_key().as_ref(),
            Kind::Ed25519(key) => key.public_key().as_ref(),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.0 {
            Kind::Ecdsa(key) => key
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Sign),
            Kind::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}
