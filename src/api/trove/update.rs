//! The body of an update, by PUT or PATCH (api-ref: `instances.md`, update). A closed object: at most one attribute
//! besides the name.

use serde_json::{Map, Value};

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::trove::create::{access, configuration};
use crate::domain::ids::ConfigurationId;
use crate::domain::refusal::Refusal;

/// What an update does besides renaming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `replica_of` or `slave_of`, whatever its value.
    Detach,
    /// `datastore_version`: a name or an id.
    Version(String),
    /// `configuration` with a group.
    AttachConfiguration(ConfigurationId),
    /// `configuration` without one, or an empty object.
    DetachConfiguration,
    /// `access`: the networks from which clients may come; `None` where it does not say any.
    Access(Option<Vec<String>>),
}

/// A parsed update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The new name.
    pub name: Option<String>,
    /// What else it does; `None` for a rename.
    pub change: Option<Change>,
}

/// Parses the body of `PUT` (`by_put`) or `PATCH /instances/{id}`.
///
/// # Errors
/// 400 naming the field.
pub fn parse(body: &Map<String, Value>, by_put: bool) -> Result<Update, Fault> {
    let instance = Field::root(body, "instance")?;
    // cdbclient sends `rm_master_replica_config` with a detach; it says nothing that a detach does not do.
    instance.closed(if by_put {
        &["name", "configuration", "replica_of", "datastore_version", "access", "rm_master_replica_config"]
    } else {
        &["name", "configuration", "replica_of", "slave_of", "datastore_version", "rm_master_replica_config"]
    })?;
    let keys = instance.object()?;
    let name = match keys.contains_key("name") {
        true => Some(instance.required("name")?.words(255)?.to_owned()),
        false => None,
    };
    let mut changes = Vec::new();
    if keys.contains_key("replica_of") || keys.contains_key("slave_of") {
        changes.push(Change::Detach);
    }
    if keys.contains_key("datastore_version") {
        changes.push(Change::Version(instance.required("datastore_version")?.words(255)?.to_owned()));
    }
    if keys.contains_key("configuration") {
        changes.push(match instance.optional("configuration")? {
            Some(group) => {
                configuration(&group)?.map_or(Change::DetachConfiguration, Change::AttachConfiguration)
            }
            None => Change::DetachConfiguration,
        });
    }
    if keys.contains_key("access") {
        let field = instance.required("access")?;
        field.closed(&["is_public", "allowed_cidrs"])?;
        changes.push(Change::Access(access(&field)?));
    }
    if changes.len() > 1 {
        return Err(
            Refusal::Invalid("Only one attribute (except 'name') is allowed to update.".to_owned()).into()
        );
    }
    let change = changes.pop();
    // An empty object is how clients take a configuration group off.
    let change = if name.is_none() { Some(change.unwrap_or(Change::DetachConfiguration)) } else { change };
    Ok(Update { name, change })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::trove::create::tests::any_json;

    #[test]
    fn each_body_has_one_meaning() {
        use Change as C;
        let both = |instance: Value| {
            let body = json!({"instance": instance});
            [true, false].map(|by_put| parse(body.as_object().unwrap(), by_put).ok())
        };
        let change = |change: Change| Some(Update { name: None, change: Some(change) });
        let same = |update: Option<Update>| [update.clone(), update];
        let uuid = "0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e";
        for (instance, expected) in [
            (json!({}), same(change(C::DetachConfiguration))),
            (json!({"configuration": null}), same(change(C::DetachConfiguration))),
            (json!({"configuration": ""}), same(change(C::DetachConfiguration))),
            (json!({"configuration": uuid}), same(change(C::AttachConfiguration(uuid.parse().unwrap())))),
            (json!({"configuration": 7}), same(None)),
            (json!({"replica_of": ""}), same(change(C::Detach))),
            (json!({"replica_of": null}), same(change(C::Detach))),
            (json!({"replica_of": uuid}), same(change(C::Detach))),
            (json!({"replica_of": {"x": 1}}), same(change(C::Detach))),
            (json!({"slave_of": ""}), [None, change(C::Detach)]),
            (
                json!({"slave_of": null, "replica_of": null, "rm_master_replica_config": false}),
                [None, change(C::Detach)],
            ),
            (json!({"datastore_version": "10.11"}), same(change(C::Version("10.11".into())))),
            (json!({"datastore_version": ""}), same(None)),
            (json!({"datastore_version": null}), same(None)),
            (json!({"datastore_version": 10.11}), same(None)),
            (json!({"datastore_version": "1".repeat(256)}), same(None)),
            (json!({"access": {"is_public": true}}), [change(C::Access(None)), None]),
            (json!({"access": {"other": true}}), same(None)),
            (
                json!({"access": {"allowed_cidrs": ["10.0.0.0/8"]}}),
                [change(C::Access(Some(vec!["10.0.0.0/8".to_owned()]))), None],
            ),
            (json!({"name": "n1"}), same(Some(Update { name: Some("n1".into()), change: None }))),
            (json!({"name": ""}), same(None)),
            (json!({"name": null}), same(None)),
            (
                json!({"name": "n1", "replica_of": ""}),
                same(Some(Update { name: Some("n1".into()), change: Some(C::Detach) })),
            ),
            (json!({"replica_of": "", "datastore_version": "10.11"}), same(None)),
            (json!({"configuration": null, "replica_of": ""}), same(None)),
            (json!({"volume": {"size": 2}}), same(None)),
            (json!([]), same(None)),
            (json!("x"), same(None)),
        ] {
            assert_eq!(both(instance.clone()), expected, "{instance}");
        }
        assert!(parse(json!({}).as_object().unwrap(), true).is_err());
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json(), by_put: bool) {
            let _ = parse(json!({"instance": value.clone()}).as_object().unwrap(), by_put);
            for key in ["name", "configuration", "access", "datastore_version"] {
                let _ = parse(json!({"instance": {key: value.clone()}}).as_object().unwrap(), by_put);
            }
        }
    }
}
