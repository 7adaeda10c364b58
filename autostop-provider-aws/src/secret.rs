//! Certificates and keys from Secrets Manager.

use serde_json::Value;

use crate::{
    access::Access,
    failure::{Failure, Kind},
    protocol::{Opened, Secrets},
    target::{self, Params},
};

/// What each of these secrets says now. They may be in different regions; one that cannot be read hides nobody.
pub(crate) async fn open(access: &Access, ids: &[String], params: &Params) -> Result<Secrets, Failure> {
    let mut secrets = Secrets::new();
    for id in ids {
        let region = target::arn(id).map(|(region, _)| region.to_owned());
        let region = region.or_else(|| Some(params.region.clone()).filter(|region| !region.is_empty()));
        let opened = match one(access, id, region).await {
            Ok(text) => Opened { text: Some(text), error: None },
            Err(error) => Opened { text: None, error: Some(error) },
        };
        secrets.insert(id.clone(), opened);
    }
    Ok(secrets)
}

async fn one(access: &Access, id: &str, region: Option<String>) -> Result<String, Failure> {
    let place = access.place(region).await?;
    let told = place.secrets.get_secret_value().secret_id(id).send().await.map_err(|error| {
        let mut failure = Failure::from(error);
        failure.message = format!("secret {id}: {}", failure.message);
        failure
    })?;
    let text = match (told.secret_string, told.secret_binary) {
        (Some(text), _) => Some(text),
        (None, Some(bytes)) => String::from_utf8(bytes.into_inner()).ok(),
        (None, None) => None,
    };
    text.map(plain).ok_or_else(|| Failure::new(Kind::Other, format!("secret {id}: it is no text")))
}

/// The console keeps what is typed into it as an object of JSON: with a single value, that is meant.
fn plain(text: String) -> String {
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) if object.len() == 1 => match object.into_iter().next() {
            Some((_, Value::String(value))) => value,
            _ => text,
        },
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_value_is_taken_out_of_its_object() {
        for (text, expected) in [
            ("-----BEGIN", "-----BEGIN"),
            (r#"{"cert":"-----BEGIN"}"#, "-----BEGIN"),
            (r#"{"a":"1","b":"2"}"#, r#"{"a":"1","b":"2"}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("", ""),
        ] {
            assert_eq!(plain(text.to_owned()), expected, "{text}");
        }
    }
}
