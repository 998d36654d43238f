//! Bytes and results as plain data: how calls, asks, answers and replies look as JSON (traces) and as JavaScript objects (the page).
//!
//! Bytes that people can read are `{"text": "…"}`, all others `{"base64": "…"}` (RFC 4648 section 4). The two forms are told
//! apart by their names, so every byte string comes back as it was. Nothing here knows what is in the bytes.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::contract::Status;

/// Bytes as they are written down.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Plain {
    Text(String),
    Base64(String),
}

impl Plain {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')) => Self::Text(text.into()),
            _ => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }

    fn bytes(self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => BASE64_STANDARD.decode(text),
        }
    }
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    Plain::new(bytes).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Plain::deserialize(deserializer)?.bytes().map_err(D::Error::custom)
}

/// Several byte strings.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Plain, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|bytes| Plain::new(bytes)))
    }

    pub(crate) fn deserialize<'de, De: Deserializer<'de>>(deserializer: De) -> Result<Vec<Vec<u8>>, De::Error> {
        let list = Vec::<Plain>::deserialize(deserializer)?;
        list.into_iter().map(|plain| plain.bytes().map_err(De::Error::custom)).collect()
    }
}

/// The end of an RPC: `{"ok": bytes}` or `{"error": {"code": 2, "message": "…"}}`.
pub(crate) mod result {
    use super::{Deserialize, Deserializer, Plain, Serialize, Serializer, Status};
    use serde::de::Error as _;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Ended {
        Ok(Plain),
        Error(Status),
    }

    pub(crate) fn serialize<S: Serializer>(result: &Result<Vec<u8>, Status>, serializer: S) -> Result<S::Ok, S::Error> {
        match result {
            Ok(bytes) => Ended::Ok(Plain::new(bytes)),
            Err(status) => Ended::Error(status.clone()),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, De: Deserializer<'de>>(deserializer: De) -> Result<Result<Vec<u8>, Status>, De::Error> {
        Ok(match Ended::deserialize(deserializer)? {
            Ended::Ok(plain) => Ok(plain.bytes().map_err(De::Error::custom)?),
            Ended::Error(status) => Err(status),
        })
    }
}
