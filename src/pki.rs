//! Certificates: an authority of the service's own, and what it signs for an instance's server.
//!
//! Owns their shape. Keeps nothing: who calls seals the keys and stores the rows.
//!
//! # Decision
//! TLS ends in the engine, so each server needs a certificate that its clients can hold against something they know:
//! one authority for the whole service, whose certificate tenants fetch once. The worker renews a
//! server's long before its end, and an operator rotates the authority ([`crate::domain::authority`]). An operator's own authority would take its place by
//! the same two rows.

use std::net::IpAddr;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::extensions::GeneralName;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its subject's common name.
    pub name: String,
    /// Until when it is good.
    pub until: DateTime<Utc>,
    /// The names and addresses that it is good for.
    pub good_for: Vec<String>,
}

/// Reads what a certificate says of itself.
///
/// # Errors
/// [`Error::Read`] when `certificate` is not a certificate in PEM.
pub fn describe(certificate: &str) -> Result<Described, Error> {
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|e| Error::Read(e.to_string()))?;
    let read = pem.parse_x509().map_err(|e| Error::Read(e.to_string()))?;
    let names = read.subject_alternative_name().map_err(|e| Error::Read(e.to_string()))?;
    let common = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let until = DateTime::from_timestamp(read.validity().not_after.timestamp(), 0);
    Ok(Described {
        name: common.unwrap_or_default().to_owned(),
        until: until.ok_or_else(|| Error::Read("its end is no time".to_owned()))?,
        good_for: names
            .map(|names| names.value.general_names.iter().map(good_for).collect())
            .unwrap_or_default(),
    })
}

fn good_for(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.map_or_else(|_| name.to_string(), |ip| ip.to_string())
        }
        other => other.to_string(),
    }
}

/// How long an authority is good, in days.
const AUTHORITY_DAYS: i64 = 3_650;

/// How long a server's certificate is good, in days.
pub const SERVER_DAYS: i64 = 365;

/// A certificate with its private key, both as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: SecretString,
}

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library refused.
    #[error("make a certificate")]
    Make(#[source] rcgen::Error),
    /// It cannot be read.
    #[error("read a certificate: {0}")]
    Read(String),
}

/// Makes an authority; `id` tells it from those of other services.
///
/// # Errors
/// [`Error::Make`].
pub fn authority(id: &str) -> Result<Pair, Error> {
    let key = KeyPair::generate().map_err(Error::Make)?;
    let certificate = of_authority(id).self_signed(&key).map_err(Error::Make)?;
    Ok(Pair { certificate: certificate.pem(), key: SecretString::from(key.serialize_pem()) })
}

/// Makes a server's certificate that names `address`, signed by the authority `id` with its key.
///
/// # Errors
/// [`Error::Make`], also for a key that is none.
pub fn server(id: &str, authority_key: &SecretString, address: IpAddr) -> Result<Pair, Error> {
    server_for(id, authority_key, address, SERVER_DAYS)
}

/// The same with an end of the caller's choice, so many days from now.
///
/// # Errors
/// [`Error::Make`], also for a key that is none.
pub fn server_for(id: &str, authority_key: &SecretString, address: IpAddr, days: i64) -> Result<Pair, Error> {
    let authority_key = KeyPair::from_pem(authority_key.expose_secret()).map_err(Error::Make)?;
    let issuer = Issuer::new(of_authority(id), authority_key);
    let mut params = dated(&format!("coffer {address}"), days);
    params.subject_alt_names = vec![SanType::IpAddress(address)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(Error::Make)?;
    let certificate = params.signed_by(&key, &issuer).map_err(Error::Make)?;
    Ok(Pair { certificate: certificate.pem(), key: SecretString::from(key.serialize_pem()) })
}

/// What the authority is; its name and its key are all that a signature takes from it.
fn of_authority(id: &str) -> CertificateParams {
    let mut params = dated(&format!("coffer authority {id}"), AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn dated(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |at: DateTime<Utc>| {
        let [month, day] = [at.month(), at.day()].map(|number| u8::try_from(number).unwrap_or(1));
        rcgen::date_time_ymd(at.year(), month, day)
    };
    let now = Utc::now();
    // From some days before on: clients' clocks differ.
    params.not_before = day(now - TimeDelta::days(3));
    params.not_after = day(now + TimeDelta::days(days));
    params
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::client::WebPkiServerVerifier;
    use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use tokio_rustls::rustls::{RootCertStore, sign::CertifiedKey};

    use super::*;

    #[test]
    fn a_server_is_known_by_its_address_and_its_authority() {
        let (ours, theirs) = (authority("one").unwrap(), authority("one").unwrap());
        let server = server("one", &ours.key, "127.64.0.1".parse().unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes()).unwrap();
        let fits = |authority: &Pair, name: &str| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots.into(), default_provider().into())
                    .build()
                    .unwrap();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).is_ok()
        };
        assert!(fits(&ours, "127.64.0.1"));
        assert!(!fits(&ours, "127.64.0.2"));
        assert!(!fits(&ours, "localhost"));
        assert!(!fits(&theirs, "127.64.0.1"), "another authority of the same name");
        let key = PrivateKeyDer::from_pem_slice(server.key.expose_secret().as_bytes()).unwrap();
        assert!(CertifiedKey::from_der(vec![certificate], key, &default_provider()).is_ok());
        assert!(!format!("{server:?}").contains("PRIVATE"));
        let described = describe(&server.certificate).unwrap();
        assert_eq!(
            (described.name.as_str(), &described.good_for[..]),
            ("coffer 127.64.0.1", &["127.64.0.1".to_owned()][..])
        );
        assert!((364..=365).contains(&(described.until - Utc::now()).num_days()), "{described:?}");
        let years = (describe(&ours.certificate).unwrap().until - Utc::now()).num_days() / 365;
        assert!((9..=10).contains(&years), "{years}");
        assert!(describe(&ours.certificate).unwrap().good_for.is_empty());
        assert!(describe("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
        assert!(describe("").is_err());
    }
}
