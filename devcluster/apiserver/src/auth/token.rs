//! Tokens of ServiceAccounts: signed claims, as the `token` subresource hands them out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::object::text_at;

/// Who the tokens are for when the request does not say, and who issues them.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// What every token begins with: the algorithm is not the client's choice.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub name: String,
    /// Uid of the ServiceAccount.
    pub uid: String,
    /// Id of the token.
    pub id: String,
    /// For whom it is.
    pub audiences: Vec<String>,
    /// When it was issued, in seconds since 1970.
    pub issued: i64,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

/// Signs and checks tokens.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// A signer with a secret of its own.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token for some claims.
    pub fn sign(&self, claims: &Claims) -> String {
        let account = json!({"name": claims.name, "uid": claims.uid});
        let payload = json!({
            "aud": claims.audiences, "exp": claims.expires, "iat": claims.issued, "nbf": claims.issued,
            "iss": ISSUER, "jti": claims.id,
            "sub": format!("system:serviceaccount:{}:{}", claims.namespace, claims.name),
            "kubernetes.io": {"namespace": claims.namespace, "serviceaccount": account},
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let body = format!(
            "{}.{}",
            encode(HEADER.as_bytes()),
            encode(payload.to_string().as_bytes())
        );
        let signature = hmac::sign(&self.0, body.as_bytes());
        format!("{body}.{}", encode(signature.as_ref()))
    }

    /// The claims of a token of this signer; None for any other text. Whether they still hold is the caller's to check.
    pub fn read(&self, token: &str) -> Option<Claims> {
        let (body, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0, body.as_bytes(), &signature).ok()?;
        let (_, payload) = body.split_once('.')?;
        let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let own = payload.get("kubernetes.io")?;
        let audiences = payload.get("aud")?.as_array()?;
        Some(Claims {
            namespace: text_at(own, &["namespace"]).to_owned(),
            name: text_at(own, &["serviceaccount", "name"]).to_owned(),
            uid: text_at(own, &["serviceaccount", "uid"]).to_owned(),
            id: text_at(&payload, &["jti"]).to_owned(),
            audiences: audiences
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            issued: payload.get("iat")?.as_i64()?,
            expires: payload.get("exp")?.as_i64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_tokens_are_read() {
        let claims = Claims {
            namespace: "a".into(),
            name: "robot".into(),
            uid: "u".into(),
            id: "i".into(),
            audiences: vec![ISSUER.into()],
            issued: 1,
            expires: 3601,
        };
        let signer = Signer::new(b"one");
        let token = signer.sign(&claims);
        assert_eq!(signer.read(&token), Some(claims));
        assert_eq!(Signer::new(b"two").read(&token), None);
        let mut broken = token.clone();
        broken.replace_range(
            40..41,
            if token.as_bytes()[40] == b'x' {
                "y"
            } else {
                "x"
            },
        );
        for bad in [broken.as_str(), "", ".", "a.b.c"] {
            assert_eq!(signer.read(bad), None, "{bad}");
        }
    }
}
