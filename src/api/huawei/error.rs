//! The dialect's "no": a status, a code of the vendor's, and a text (api-ref: `huawei.md`, codes).

use actix_web::http::StatusCode;

use crate::api::error::Fault;
use crate::auth::{self, access_keys, signatures};
use crate::domain::refusal::Refusal;
use crate::{commands, db};

/// An answer that is no success.
#[derive(Debug)]
pub struct VendorError {
    /// The status.
    pub status: StatusCode,
    /// The vendor's code.
    pub code: &'static str,
    /// The text.
    pub message: String,
    /// Trouble of ours, for the log.
    pub cause: Option<Fault>,
}

impl VendorError {
    /// A refusal.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, code, message: message.into(), cause: None }
    }

    /// A parameter or a field that is not what it must be.
    pub fn invalid(name: &str, expected: &str) -> Self {
        Self::new(400, "DBS.280001", format!("Parameter error: {name} must be {expected}."))
    }

    /// Who asks is not known.
    pub fn unauthorized(why: &str) -> Self {
        Self::new(401, "APIGW.0301", format!("Incorrect IAM authentication information: {why}"))
    }

    /// No such API.
    pub fn no_api() -> Self {
        Self::new(404, "APIGW.0101", "The API does not exist or has not been published.")
    }

    /// No instance that the caller may know of.
    pub fn no_instance() -> Self {
        Self::new(404, "DBS.200002", "The instance does not exist.")
    }

    /// No job that the caller may know of.
    pub fn no_job() -> Self {
        Self::new(400, "DBS.200543", "The job does not exist.")
    }

    /// Another operation is under way, or the instance is faulty.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(409, "DBS.200019", message)
    }

    /// The engine, or its version, has no such operation.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(400, "DBS.280238", message)
    }

    /// A handler panicked.
    pub fn panicked() -> Self {
        Self::trouble(Fault::Broken("a handler panicked".into()))
    }

    fn trouble(fault: Fault) -> Self {
        let away = matches!(fault, Fault::Away(_));
        let (status, code, message) = if away {
            (503, "DBS.200005", "The service cannot answer now.")
        } else {
            (500, "DBS.108000", "The request could not be processed, and nothing was changed by it.")
        };
        Self { cause: Some(fault), ..Self::new(status, code, message) }
    }
}

impl From<signatures::SignatureError> for VendorError {
    fn from(error: signatures::SignatureError) -> Self {
        Self::unauthorized(&error.to_string())
    }
}

impl From<access_keys::Error> for VendorError {
    fn from(error: access_keys::Error) -> Self {
        use access_keys::Error as Of;
        let message = error.to_string();
        match error {
            Of::Expired => {
                Self::new(401, "APIGW.0303", format!("Incorrect IAM authentication information: {message}"))
            }
            Of::UnknownKey | Of::NonceUsed => Self::unauthorized(&message),
            // What should have been signed is of no use to the vendor's clients, and holds what came.
            Of::Mismatch { string_to_sign: _ } => Self::unauthorized("verify aksk signature fail"),
            Of::Store(error) => Self::trouble(error.into()),
            Of::Sealed(error) => Self::trouble(Fault::Broken(error.into())),
        }
    }
}

impl From<auth::Error> for VendorError {
    fn from(error: auth::Error) -> Self {
        match Fault::from(error) {
            Fault::Unauthorized => Self::unauthorized("the token is not valid, or has expired"),
            Fault::Forbidden(text) => Self::new(403, "DBS.200010", text),
            fault => Self::trouble(fault),
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
        match refusal {
            Refusal::NotFound { .. } => Self::no_instance(),
            Refusal::Operation(_) | Refusal::Parameter(_) => Self::new(400, "DBS.280001", message),
            Refusal::TooManyOperations(_) => Self::new(409, "DBS.200316", message),
            Refusal::Follows { .. } => Self::new(400, "DBS.200037", message),
            Refusal::Forbidden { .. } | Refusal::NotYours(_) => Self::new(403, "DBS.200010", message),
            Refusal::NotReady { .. }
            | Refusal::GroupNotReady { .. }
            | Refusal::BeingUpgraded(_)
            | Refusal::UpgradePlanned { .. }
            | Refusal::KeyOfAnother { .. }
            | Refusal::TooLate { .. }
            | Refusal::KeepsRetired { .. } => Self::busy(message),
            Refusal::HasReplicas | Refusal::Replicating(_) | Refusal::MemberOfGroup { .. } => {
                Self::new(400, "DBS.200037", message)
            }
            Refusal::NoPath { .. } | Refusal::NoUpgrade { .. } | Refusal::NoRolling { .. } => {
                Self::new(400, "DBS.200041", message)
            }
            Refusal::NoUpgrades { .. } | Refusal::NoGroups { .. } => Self::unsupported(message),
            Refusal::Blocked(_) | Refusal::NotSimulated(_) => Self::new(400, "DBS.200086", message),
            Refusal::NoRoom(_) | Refusal::OverQuota { .. } => Self::new(409, "DBS.200316", message),
            Refusal::Unavailable(_) | Refusal::NoAnswer { .. } => Self::new(503, "DBS.200005", message),
            Refusal::Invalid(_) => Self::new(400, "DBS.280001", message),
        }
    }
}
