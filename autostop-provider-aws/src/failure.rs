//! Pure. What Amazon's errors mean to lw_proxy.

use std::{error::Error, io};

use aws_smithy_runtime_api::{client::result::SdkError, http::Response};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde::Serialize;

/// Why something was not done, in the words of the plug-in protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What it means.
    pub kind: Kind,
    /// What Amazon said.
    pub message: String,
}

/// The error kinds of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Too many calls, nothing was done.
    Throttled,
    /// Still changing, nothing was done.
    Busy,
    /// No room or no quota.
    NoCapacity,
    /// Not allowed.
    Denied,
    /// There is no such thing.
    Gone,
    /// Cannot be done at all.
    Unsupported,
    /// The call did not get there.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// What became of the call is not known.
    Interrupted,
    /// Anything else.
    Other,
}

impl Failure {
    /// Of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// It cannot be done as it is asked for.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// There is no such thing.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Kind::Gone, message)
    }
}

impl<E: Error + ProvideErrorMetadata + 'static> From<SdkError<E, Response>> for Failure {
    fn from(error: SdkError<E, Response>) -> Self {
        let (kind, message) = match &error {
            SdkError::ServiceError(told) => {
                let (code, message) = (told.err().code().unwrap_or_default(), told.err().message());
                let status = told.raw().status().as_u16();
                // What follows is a riddle that only Amazon can solve.
                let message = message.and_then(|told| told.split("Encoded authorization").next());
                (kind(code, status), format!("{code}: {}", message.unwrap_or_default().trim()))
            }
            SdkError::TimeoutError(_) => (Kind::Timeout, String::new()),
            SdkError::DispatchFailure(told) => {
                let told = told.as_connector_error().map_or_else(String::new, |told| chain(told));
                (if never_arrived(&error) { Kind::Unreachable } else { Kind::Interrupted }, told)
            }
            SdkError::ConstructionFailure(_) => (Kind::Denied, chain(&error)),
            _ => (Kind::Interrupted, chain(&error)),
        };
        let lost = is_about_credentials(&error);
        Self::new(if lost { Kind::Denied } else { kind }, message)
    }
}

/// What an error code means; without a code that is known, what the status of HTTP does.
pub fn kind(code: &str, status: u16) -> Kind {
    // Some services end their codes in Fault or Exception, and not all of them all the time.
    let bare = code.strip_suffix("Exception").or_else(|| code.strip_suffix("Fault")).unwrap_or(code);
    match bare {
        "RequestLimitExceeded"
        | "Throttling"
        | "Throttled"
        | "ThrottlingError"
        | "RequestThrottled"
        | "TooManyRequests"
        | "EC2Throttled"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "LimitExceeded" => Kind::Throttled,
        "IncorrectInstanceState"
        | "IncorrectState"
        | "InvalidDBInstanceState"
        | "InvalidDBClusterState"
        | "InvalidDBClusterStateFault"
        | "InvalidClusterState"
        | "ScalingActivityInProgress"
        | "ResourceContention"
        | "UpdateInProgress"
        | "Conflict"
        | "ResourceInUse" => Kind::Busy,
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientDBInstanceCapacity"
        | "InsufficientDBClusterCapacity"
        | "InsufficientStorageClusterCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "InstanceQuotaExceeded"
        | "DBClusterQuotaExceeded"
        | "StorageQuotaExceeded" => Kind::NoCapacity,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AuthFailure"
        | "OptInRequired"
        | "Blocked"
        | "PendingVerification"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "ExpiredToken"
        | "RequestExpired"
        | "OperationNotPermitted"
        | "KMSKeyNotAccessible"
        | "DecryptionFailure" => Kind::Denied,
        "InvalidInstanceID.NotFound"
        | "InvalidInstanceID.Malformed"
        | "DBInstanceNotFound"
        | "DBClusterNotFound"
        | "ServiceNotFound"
        | "ServiceNotActive"
        | "ClusterNotFound"
        | "ResourceNotFound" => Kind::Gone,
        "Unsupported"
        | "UnsupportedOperation"
        | "UnsupportedHibernationConfiguration"
        | "UnsupportedFeature"
        | "InvalidParameterCombination"
        | "InvalidParameterValue"
        | "InvalidParameter"
        | "InvalidRequest"
        | "ValidationError"
        | "Validation" => Kind::Unsupported,
        _ => match status {
            429 | 503 => Kind::Throttled,
            500.. => Kind::Interrupted,
            401 | 403 => Kind::Denied,
            _ => Kind::Other,
        },
    }
}

/// Everything that an error says of its causes, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for error in causes(error) {
        let text = error.to_string();
        // Many an error says what its cause says as well.
        if said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Whether it is certain that nobody heard the call.
fn never_arrived(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let nobody = [AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable];
    causes(error).any(|cause| {
        let told = cause.downcast_ref::<io::Error>();
        let said = cause.to_string();
        told.is_some_and(|told| nobody.contains(&told.kind()))
            || said.contains("dns error")
            || said.contains("invalid peer certificate")
    })
}

/// Whether nobody has the right to ask at all: there is no key, or it could not be had.
fn is_about_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<aws_credential_types::provider::error::CredentialsError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_they_say_whatever_their_ending() {
        for (code, status, expected) in [
            ("RequestLimitExceeded", 503, Kind::Throttled),
            ("Throttling", 400, Kind::Throttled),
            ("ThrottlingException", 400, Kind::Throttled),
            ("IncorrectInstanceState", 400, Kind::Busy),
            ("InvalidDBInstanceState", 400, Kind::Busy),
            ("InvalidDBInstanceStateFault", 400, Kind::Busy),
            ("InvalidDBClusterStateFault", 400, Kind::Busy),
            ("InsufficientInstanceCapacity", 500, Kind::NoCapacity),
            ("InsufficientDBInstanceCapacityFault", 400, Kind::NoCapacity),
            ("VcpuLimitExceeded", 400, Kind::NoCapacity),
            ("UnauthorizedOperation", 403, Kind::Denied),
            ("AccessDeniedException", 400, Kind::Denied),
            ("ExpiredToken", 400, Kind::Denied),
            ("InvalidInstanceID.NotFound", 400, Kind::Gone),
            ("DBInstanceNotFound", 404, Kind::Gone),
            ("DBClusterNotFoundFault", 404, Kind::Gone),
            ("ServiceNotFoundException", 400, Kind::Gone),
            ("UnsupportedHibernationConfiguration", 400, Kind::Unsupported),
            ("InternalError", 500, Kind::Interrupted),
            ("", 502, Kind::Interrupted),
            ("", 403, Kind::Denied),
            ("Whatever", 400, Kind::Other),
        ] {
            assert_eq!(kind(code, status), expected, "{code} {status}");
        }
    }
}
