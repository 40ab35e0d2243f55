//! The dialect's "no": a status, a code of the vendor's, and a text (api-ref: `alibaba.md`, codes).

use actix_web::http::StatusCode;

use crate::api::error::Fault;
use crate::auth::access_keys;
use crate::auth::signatures;
use crate::domain::refusal::Refusal;
use crate::{commands, db};

/// An answer that is no success.
#[derive(Debug)]
pub struct VendorError {
    /// The status.
    pub status: StatusCode,
    /// The vendor's code.
    pub code: &'static str,
    /// The text; for `SignatureDoesNotMatch` with one colon in it, as the older client wants it.
    pub message: String,
    /// Trouble of ours, for the log.
    pub cause: Option<Fault>,
    /// After how many seconds another try may be of use, where that is known.
    pub retry_after: Option<u32>,
}

impl VendorError {
    /// A refusal.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, code, message: message.into(), cause: None, retry_after: None }
    }

    /// A parameter that is not there.
    pub fn missing(name: &str) -> Self {
        Self::new(400, "MissingParameter", format!("The parameter {name} is required and is missing."))
    }

    /// A parameter that is not what it must be.
    pub fn invalid(name: &str, expected: &str) -> Self {
        Self::new(400, "InvalidParameter", format!("The parameter {name} is not valid; expected {expected}."))
    }

    /// No instance that the caller may know of.
    pub fn no_instance() -> Self {
        Self::new(
            404,
            "InvalidDBInstanceId.NotFound",
            "The DBInstanceId provided does not exist in our records.",
        )
    }

    /// A handler panicked.
    pub fn panicked() -> Self {
        Self::trouble(Fault::Broken("a handler panicked".into()))
    }

    fn trouble(fault: Fault) -> Self {
        let away = matches!(fault, Fault::Away(_));
        let (status, code, message) = if away {
            (503, "ServiceUnavailable", "The service cannot answer now.")
        } else {
            (500, "InternalError", "The request could not be processed, and nothing was changed by it.")
        };
        Self { cause: Some(fault), ..Self::new(status, code, message) }
    }
}

impl From<signatures::SignatureError> for VendorError {
    fn from(error: signatures::SignatureError) -> Self {
        use signatures::SignatureError as Of;
        let message = error.to_string();
        match error {
            Of::Missing { .. } => Self::new(400, "MissingParameter", message),
            Of::Time { .. } => Self::new(400, "IllegalTimestamp", message),
            Of::Malformed { .. } | Of::Unsupported { .. } => Self::new(400, "IncompleteSignature", message),
            Of::TooLong => Self::new(400, "InvalidParameter", message),
        }
    }
}

impl From<access_keys::Error> for VendorError {
    fn from(error: access_keys::Error) -> Self {
        use access_keys::Error as Of;
        let message = error.to_string();
        match error {
            Of::Expired => Self::new(400, "InvalidTimeStamp.Expired", message),
            Of::UnknownKey => {
                Self::new(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
            }
            // The older client splits the text at its colon, and ends where there is none.
            Of::Mismatch { string_to_sign } => Self::new(
                400,
                "SignatureDoesNotMatch",
                format!("The signature does not match, the server's string to sign is:{string_to_sign}"),
            ),
            Of::NonceUsed => Self::new(400, "SignatureNonceUsed", message),
            Of::Store(error) => Self::trouble(error.into()),
            Of::Sealed(error) => Self::trouble(Fault::Broken(error.into())),
        }
    }
}

impl From<db::Error> for VendorError {
    fn from(error: db::Error) -> Self {
        Self::trouble(error.into())
    }
}

impl From<commands::Error> for VendorError {
    fn from(error: commands::Error) -> Self {
        match error {
            commands::Error::Refused(refusal) => refusal.into(),
            other => Self::trouble(other.into()),
        }
    }
}

impl From<Refusal> for VendorError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let (status, code) = match refusal {
            Refusal::NotFound { .. } => return Self::no_instance(),
            Refusal::Operation(_) | Refusal::Parameter(_) => (400, "InvalidParameter"),
            Refusal::TooManyOperations(_) => (403, "QuotaExceeded"),
            Refusal::Follows { .. } => (403, "UnsupportedReadOrBakReadState"),
            Refusal::Forbidden { .. } | Refusal::NotYours(_) | Refusal::HasReplicas => (403, "Forbidden.RAM"),
            Refusal::KeyOfAnother { .. } => (400, "IdempotentParameterMismatch"),
            Refusal::UpgradePlanned { .. } => (400, "InvalidOrderTask.NotSupport"),
            Refusal::NotReady { .. }
            | Refusal::GroupNotReady { .. }
            | Refusal::BeingUpgraded(_)
            | Refusal::KeepsRetired { .. } => (403, "IncorrectDBInstanceState"),
            Refusal::Replicating(_) | Refusal::MemberOfGroup { .. } => (403, "UnsupportedReadOrBakReadState"),
            Refusal::NoPath { .. } | Refusal::NoUpgrade { .. } | Refusal::NoRolling { .. } => {
                (403, "IncorrectEngineVersion")
            }
            Refusal::NoUpgrades { .. } | Refusal::NoGroups { .. } => (400, "EngineNotSupported"),
            Refusal::Blocked(_) | Refusal::NotSimulated(_) | Refusal::TooLate { .. } => {
                (403, "IncorrectDBInstanceState")
            }
            Refusal::NoRoom(_) | Refusal::OverQuota { .. } => (403, "QuotaExceeded"),
            Refusal::Unavailable(_) | Refusal::NoAnswer { .. } => (503, "ServiceUnavailable"),
            Refusal::Invalid(_) => (400, "InvalidParameter"),
        };
        Self::new(status, code, message)
    }
}
