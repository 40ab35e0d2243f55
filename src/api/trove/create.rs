//! The body of a creation (api-ref: `instances.md`, create). An open object: what is unknown is ignored, what is
//! known is checked, and what is known and not done here yet is refused and not silently left out.
//!
//! A user's password becomes the server's verifier in this parse; the text goes no further. What a server takes as names
//! and verifiers is its engine's matter, so who parses content says for which engine ([`asked_version`]).

use serde_json::{Map, Value};

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::trove::content::{databases, users};
use crate::commands::instances::CreateInstance;
use crate::domain::datastore::EngineKind;
use crate::domain::ids::{ConfigurationId, FlavorId};
use crate::domain::refusal::Refusal;

/// The most networks from which clients may come.
const MOST_CIDRS: usize = 100;

/// A parsed body.
#[derive(Clone, Debug)]
pub struct Creation {
    /// What the command takes.
    pub request: CreateInstance,
    /// `datastore.version_number`, by which a version can be told, too.
    pub version_number: Option<String>,
}

/// A check of one optional key: it fits, or why not.
type Check = fn(&Field<'_>) -> Result<(), Fault>;

/// The optional keys that are checked and have no effect here, or that have one and are not done yet.
const CHECKS: [(&str, Check); 11] = [
    ("availability_zone", |field| Ok(field.words(255).map(drop)?)),
    ("region_name", |field| Ok(field.words(255).map(drop)?)),
    ("nics", |field| Ok(nics(field)?)),
    ("locality", |field| Ok(locality(field)?)),
    ("access", |field| Ok(access(field).map(drop)?)),
    ("replica_count", |field| match field.value().as_u64() {
        Some(1) => Ok(()),
        Some(2 | 3) => Err(field.refuse("can only be more than 1 together with replica_of").into()),
        Some(_) | None => Err(field.refuse("must be an integer from 1 to 3").into()),
    }),
    ("replica_of", |field| {
        field.uuid()?;
        Err(Fault::not_yet("Creating a replica (instance['replica_of'])"))
    }),
    ("slave_of", |field| {
        field.uuid()?;
        Err(Fault::not_yet("Creating a replica (instance['slave_of'])"))
    }),
    ("restorePoint", |field| {
        field.required("backupRef")?.uuid()?;
        Err(Fault::not_yet("Restoring a backup (instance['restorePoint'])"))
    }),
    ("configuration", |field| Ok(configuration(field).map(drop)?)),
    ("modules", |field| {
        for module in field.array()? {
            module.required("id")?.uuid()?;
        }
        match field.array()?.is_empty() {
            true => Ok(()),
            false => Err(Fault::not_yet("Applying modules (instance['modules'])")),
        }
    }),
];

/// A configuration group: its id, or a URL that ends in it; an empty text is none. What is no id is no group's.
///
/// # Errors
/// 400 naming the field; 404.
pub fn configuration(field: &Field<'_>) -> Result<Option<ConfigurationId>, Refusal> {
    let text = field.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    field.words(255)?;
    let id = text.rsplit('/').next().unwrap_or_default();
    id.parse().map(Some).map_err(|_| Refusal::NotFound { what: text.to_owned() })
}

/// What a body with databases or users asks for as datastore and version, each by name or id; `None` for a body without
/// content, which is the same for every engine, and for one that [`parse`] refuses before it comes to its content.
pub fn asked_version(body: &Map<String, Value>) -> Option<(Option<&str>, Option<&str>)> {
    let instance = body.get("instance")?.as_object()?;
    let is_there = |key: &&str| instance.get(*key).is_some_and(|value| !value.is_null());
    ["databases", "users"].iter().find(|key| is_there(key))?;
    let word = |key: &str| instance.get("datastore")?.get(key)?.as_str();
    Some((word("type"), word("version")))
}

/// Parses the body of `POST /instances`, with its content as `engine` takes it.
///
/// # Errors
/// 400 naming the field; 501 for what is not done yet.
pub fn parse(body: &Map<String, Value>, engine: EngineKind) -> Result<Creation, Fault> {
    let instance = Field::root(body, "instance")?;
    let name = instance.required("name")?.words(255)?.to_owned();
    let mut not_yet = None;
    for (key, check) in CHECKS {
        if let Some(field) = instance.optional(key)? {
            match check(&field) {
                Ok(()) => {}
                // What is wrong is told before what is missing here.
                Err(fault @ Fault::NotImplemented(_)) => not_yet = not_yet.or(Some(fault)),
                Err(fault) => return Err(fault),
            }
        }
    }
    let replica = instance.optional("replica_of")?.is_some();
    if replica {
        for key in ["flavorRef", "flavor", "volume", "datastore", "databases", "users", "locality"] {
            if let Some(field) = instance.optional(key)? {
                return Err(field.refuse("cannot be given when creating replicas").into());
            }
        }
    }
    if let Some(fault) = not_yet {
        return Err(fault);
    }

    let flavor = match (instance.optional("flavorRef")?, instance.optional("flavor")?) {
        (Some(field), _) => field.flavor()?,
        (None, Some(field)) if field.value().is_object() => field.required("id")?.flavor()?,
        (None, Some(field)) => field.flavor()?,
        (None, None) => instance.required("flavorRef")?.flavor()?,
    };
    let volume = instance.required("volume")?;
    if let Some(kind) = volume.optional("type")? {
        kind.words(255)?;
    }
    let volume_gb = volume.required("size")?.size()?;
    let (mut datastore, mut version, mut version_number) = (None, None, None);
    if let Some(field) = instance.optional("datastore")? {
        let text = |key: &str| -> Result<Option<String>, Refusal> {
            field.optional(key)?.map(|f| f.words(255).map(str::to_owned)).transpose()
        };
        (datastore, version, version_number) = (text("type")?, text("version")?, text("version_number")?);
    }
    let databases = match instance.optional("databases")? {
        Some(field) => databases(&field, engine)?,
        None => Vec::new(),
    };
    let users = match instance.optional("users")? {
        Some(field) => users(&field, Some(&databases), engine)?,
        None => Vec::new(),
    };
    let allowed_cidrs = match instance.optional("access")? {
        Some(field) => access(&field)?.unwrap_or_default(),
        None => Vec::new(),
    };
    let configuration = match instance.optional("configuration")? {
        Some(field) => configuration(&field)?,
        None => None,
    };
    Ok(Creation {
        request: CreateInstance {
            name,
            flavor: FlavorId(flavor),
            volume_gb,
            datastore,
            version,
            databases,
            users,
            allowed_cidrs,
            configuration,
            idempotency_key: None,
        },
        version_number,
    })
}

fn nics(field: &Field<'_>) -> Result<(), Refusal> {
    let nics = field.array()?;
    if nics.len() > 1 {
        return Err(field.refuse("must have one element at most"));
    }
    for nic in nics {
        nic.closed(&["net-id", "network_id", "subnet_id", "ip_address"])?;
        for key in ["net-id", "network_id", "subnet_id"] {
            nic.optional(key)?.map(|id| id.uuid().map(drop)).transpose()?;
        }
        if let Some(address) = nic.optional("ip_address")?
            && address.text()?.parse::<std::net::Ipv4Addr>().is_err()
        {
            return Err(address.refuse("must be an IPv4 address"));
        }
    }
    Ok(())
}

fn locality(field: &Field<'_>) -> Result<(), Refusal> {
    match field.text()? {
        "affinity" | "anti-affinity" | "soft-affinity" | "soft-anti-affinity" => Ok(()),
        _other => {
            Err(field.refuse("must be one of affinity, anti-affinity, soft-affinity, soft-anti-affinity"))
        }
    }
}

/// The networks of `access`, on a creation and on an update; `is_public` is checked and has no effect. `None` where it does not
/// say any.
///
/// # Errors
/// 400 naming the field.
pub fn access(field: &Field<'_>) -> Result<Option<Vec<String>>, Refusal> {
    field.optional("is_public")?.map(|public| public.boolean()).transpose()?;
    let Some(list) = field.optional("allowed_cidrs")? else { return Ok(None) };
    let cidrs = list.array()?;
    if cidrs.len() > MOST_CIDRS {
        return Err(list.refuse(&format!("must have {MOST_CIDRS} elements at most")));
    }
    let mut all: Vec<String> = Vec::new();
    for cidr in &cidrs {
        let text = cidr.text()?;
        let is_cidr = text.parse::<ipnet::Ipv4Net>().is_ok() || text.parse::<std::net::Ipv4Addr>().is_ok();
        if !is_cidr {
            return Err(cidr.refuse("must be an IPv4 network, as 10.0.0.0/8"));
        }
        if all.iter().any(|known| known == text) {
            return Err(cidr.refuse("must not be there twice"));
        }
        all.push(text.to_owned());
    }
    Ok(Some(all))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::tenant::Verifier;

    fn with(key: &str, value: Value) -> Value {
        let mut body = json!({"instance": {"name": "orders", "flavorRef": 2, "volume": {"size": 1}}});
        body["instance"][key] = value;
        body
    }

    fn answer(body: &Value) -> u16 {
        match parse(body.as_object().unwrap(), EngineKind::MariaDb) {
            Ok(_) => 200,
            Err(fault) => fault.row().0.as_u16(),
        }
    }

    #[test]
    fn what_the_openstack_client_sends_is_taken() {
        let body = json!({"instance": {
            "name": "orders",
            "flavorRef": 2,
            "volume": {"size": 1, "type": null},
            "databases": [{"name": "shop", "character_set": "utf8mb4", "collate": "utf8mb4_general_ci"}, {"name": "x"}],
            "users": [{"name": "clerk", "password": "hunter2", "databases": [{"name": "shop"}, {"name": "x"}]}],
            "datastore": {"type": "mariadb", "version": "10.6"},
            "nics": [{"network_id": "0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"}],
            "access": {"is_public": false},
            "configuration": null,
            "restorePoint": null,
            "something": ["else"],
        }});
        let creation = parse(body.as_object().unwrap(), EngineKind::MariaDb).unwrap();
        let request = &creation.request;
        assert_eq!((request.name.as_str(), request.flavor.0.as_str(), request.volume_gb), ("orders", "2", 1));
        assert_eq!(request.datastore.as_deref(), Some("mariadb"));
        assert_eq!(request.databases[0].character_set.as_deref(), Some("utf8mb4"));
        assert_eq!(request.users[0].verifier, Verifier::native("hunter2"));
        assert_eq!(request.users[0].host, "%");
        assert_eq!(request.users[0].databases, ["shop", "x"]);
        assert!(!format!("{creation:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_required_is_asked_for() {
        for (body, field) in [
            (json!({}), "instance is a required"),
            (json!({"instance": null}), "instance must be an object"),
            (json!({"instance": []}), "instance must be an object"),
            (json!({"instance": {}}), "instance['name'] is a required"),
            (json!({"instance": {"name": "a"}}), "instance['flavorRef'] is a required"),
            (json!({"instance": {"name": "a", "flavorRef": 1}}), "instance['volume'] is a required"),
            (
                json!({"instance": {"name": "a", "flavorRef": 1, "volume": {}}}),
                "instance['volume']['size'] is a required",
            ),
        ] {
            let text = match parse(body.as_object().unwrap(), EngineKind::MariaDb) {
                Err(Fault::BadRequest(text)) => text,
                other => panic!("{body}: {other:?}"),
            };
            assert!(text.starts_with("Validation error: ") && text.contains(field), "{text}");
        }
        let sdk = json!({"instance": {"name": "a", "flavor": {"id": 4}, "volume": {"size": "2"}}});
        assert_eq!(parse(sdk.as_object().unwrap(), EngineKind::MariaDb).unwrap().request.flavor.0, "4");
    }

    /// Key, value, answer: one row a rule.
    #[test]
    fn each_key_is_checked() {
        let uuid = "0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e";
        let user = |name: &str| json!([{"name": name, "password": "p1"}]);
        for (key, value, status) in [
            ("name", json!(""), 400),
            ("name", json!("   "), 400),
            ("name", json!(null), 400),
            ("name", json!(7), 400),
            ("name", json!("a".repeat(256)), 400),
            ("name", json!("é".repeat(254) + "1"), 200),
            ("flavorRef", json!(true), 400),
            ("flavorRef", json!("http://h/flavors/2"), 200),
            ("volume", json!(5), 400),
            ("volume", json!({"size": 0}), 400),
            ("volume", json!({"size": "3"}), 200),
            ("volume", json!({"size": 1, "type": 7}), 400),
            ("datastore", json!("mariadb"), 400),
            ("datastore", json!({"type": ""}), 400),
            ("datastore", json!({"version": 10.6}), 400),
            ("datastore", json!({}), 200),
            ("availability_zone", json!(""), 400),
            ("availability_zone", json!("nova"), 200),
            ("region_name", json!(1), 400),
            ("nics", json!({}), 400),
            ("nics", json!([]), 200),
            ("nics", json!([{"net-id": uuid}, {"net-id": uuid}]), 400),
            ("nics", json!([{"net-id": "x"}]), 400),
            ("nics", json!([{"port-id": uuid}]), 400),
            ("nics", json!([{"ip_address": "10.0.0.1"}]), 200),
            ("nics", json!([{"ip_address": "10.0.0.256"}]), 400),
            ("locality", json!("affinity"), 200),
            ("locality", json!("near"), 400),
            ("access", json!({"is_public": "no"}), 400),
            ("access", json!({"is_public": true, "allowed_cidrs": []}), 200),
            ("access", json!({"allowed_cidrs": ["10.0.0.0/8"]}), 200),
            ("access", json!({"allowed_cidrs": ["10.0.0.0/33"]}), 400),
            ("access", json!({"allowed_cidrs": ["10.0.0.0/8", "10.0.0.0/8"]}), 400),
            ("replica_count", json!(1), 200),
            ("replica_count", json!(2), 400),
            ("replica_count", json!(0), 400),
            ("replica_count", json!("1"), 400),
            ("replica_of", json!("x"), 400),
            ("replica_of", json!(uuid), 400),
            ("slave_of", json!(uuid), 501),
            ("restorePoint", json!({"backupRef": uuid}), 501),
            ("restorePoint", json!({}), 400),
            ("configuration", json!(uuid), 200),
            ("configuration", json!(format!("http://h/v1.0/p/configurations/{uuid}")), 200),
            ("configuration", json!("other"), 404),
            ("configuration", json!(""), 200),
            ("configuration", json!(7), 400),
            ("modules", json!([{"id": uuid}]), 501),
            ("modules", json!([]), 200),
            ("modules", json!([{}]), 400),
            ("databases", json!({"name": "a"}), 400),
            ("databases", json!([{}]), 400),
            ("databases", json!(["a"]), 400),
            ("databases", json!([{"name": "a"}, {"name": "a"}]), 400),
            ("databases", json!([{"name": "a"}, {"name": "A"}]), 200),
            ("databases", json!([{"name": "MySQL"}]), 400),
            ("databases", json!([{"name": "coffer"}]), 400),
            ("databases", json!([{"name": "a`b"}]), 400),
            ("databases", json!([{"name": " a"}]), 400),
            ("databases", json!([{"name": "a\n"}]), 400),
            ("databases", json!([{"name": "a😀"}]), 400),
            ("databases", json!([{"name": "a".repeat(64)}]), 200),
            ("databases", json!([{"name": "a".repeat(65)}]), 400),
            ("databases", json!([{"name": "a", "character_set": "klingon"}]), 400),
            ("databases", json!([{"name": "a", "character_set": "latin1; drop"}]), 400),
            ("databases", json!([{"name": "a", "character_set": "UTF8", "collate": "utf8_general_ci"}]), 200),
            (
                "databases",
                json!([{"name": "a", "character_set": "latin1", "collate": "utf8_general_ci"}]),
                400,
            ),
            ("databases", json!([{"name": "a", "collate": "uca1400_ai_ci"}]), 200),
            ("databases", json!([{"name": "a", "collate": "x' y"}]), 400),
            ("users", user("clerk"), 200),
            ("users", user("root"), 400),
            ("users", user("Coffer_x"), 400),
            ("users", user("os_admin"), 400),
            ("users", user(&"a".repeat(16)), 200),
            ("users", user(&"a".repeat(17)), 400),
            ("users", user("a'b"), 400),
            ("users", json!([{"name": "a"}]), 400),
            ("users", json!([{"name": "a", "password": ""}]), 400),
            ("users", json!([{"name": "a", "password": 7}]), 400),
            ("users", json!([{"name": "a", "password": "p", "host": "%"}]), 200),
            ("users", json!([{"name": "a", "password": "p", "host": "10.0.%"}]), 200),
            (
                "users",
                json!([{"name": "a", "password": "p"}, {"name": "a", "password": "q", "host": "10.0.0.1"}]),
                200,
            ),
            (
                "users",
                json!([{"name": "a", "password": "p"}, {"name": "a", "password": "q", "host": "%"}]),
                400,
            ),
            ("users", json!([{"name": "a", "password": "p", "host": "localhost"}]), 400),
            ("users", json!([{"name": "a", "password": "p", "host": "fd00::1"}]), 400),
            ("users", json!([{"name": "a", "password": "p"}, {"name": "a", "password": "q"}]), 400),
            ("users", json!([{"name": "a", "password": "p", "databases": [{"name": "elsewhere"}]}]), 400),
        ] {
            let body = with(key, value);
            assert_eq!(answer(&body), status, "{body}");
        }
    }

    /// The same of PostgreSQL, where its rules are others.
    #[test]
    fn postgresql_has_rules_of_its_own() {
        for (key, value, status) in [
            ("databases", json!([{"name": "mysql"}]), 200),
            ("databases", json!([{"name": "postgres"}]), 400),
            ("databases", json!([{"name": "template1"}]), 400),
            ("databases", json!([{"name": "coffer"}]), 400),
            ("databases", json!([{"name": "a".repeat(64)}]), 400),
            ("databases", json!([{"name": "é".repeat(32)}]), 400),
            ("databases", json!([{"name": "a", "character_set": "UTF8", "collate": "C.utf8"}]), 200),
            ("databases", json!([{"name": "a", "character_set": "latin1"}]), 400),
            ("databases", json!([{"name": "a", "collate": "utf8_general_ci"}]), 400),
            ("users", json!([{"name": "pg_read_all_data", "password": "p"}]), 400),
            ("users", json!([{"name": "postgres", "password": "p"}]), 400),
            ("users", json!([{"name": "Coffer_x", "password": "p"}]), 400),
            ("users", json!([{"name": "a".repeat(63), "password": "p"}]), 200),
            ("users", json!([{"name": "a".repeat(64), "password": "p"}]), 400),
            ("users", json!([{"name": "a", "password": "p", "host": "%"}]), 200),
            ("users", json!([{"name": "a", "password": "p", "host": "10.0.%"}]), 400),
            ("users", json!([{"name": "a", "password": "p\0"}]), 400),
        ] {
            let body = with(key, value);
            let answered = match parse(body.as_object().unwrap(), EngineKind::Postgresql) {
                Ok(_) => 200,
                Err(fault) => fault.row().0.as_u16(),
            };
            assert_eq!(answered, status, "{body}");
        }
        let body = with("users", json!([{"name": "a", "password": "hunter2"}]));
        let creation = parse(body.as_object().unwrap(), EngineKind::Postgresql).unwrap();
        assert!(creation.request.users[0].verifier.is_for(EngineKind::Postgresql));
    }

    #[test]
    fn content_asks_for_its_engine() {
        let mut body = with("users", json!([]));
        assert_eq!(asked_version(body.as_object().unwrap()), Some((None, None)));
        body["instance"]["datastore"] = json!({"type": "postgresql", "version": "15"});
        assert_eq!(asked_version(body.as_object().unwrap()), Some((Some("postgresql"), Some("15"))));
        body["instance"]["users"] = Value::Null;
        assert_eq!(asked_version(body.as_object().unwrap()), None);
    }

    #[test]
    fn a_host_is_named_in_the_refusal() {
        let body = with("users", json!([{"name": "a", "password": "hunter2", "host": "shop.example"}]));
        let Err(Fault::BadRequest(text)) = parse(body.as_object().unwrap(), EngineKind::MariaDb) else {
            panic!("400")
        };
        assert!(text.contains("instance['users'][0]['host']") && !text.contains("hunter2"), "{text}");
    }

    /// Any JSON, mostly with our keys in it.
    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            Just("instance".to_owned()),
            Just("name".to_owned()),
            Just("flavorRef".to_owned()),
            Just("volume".to_owned()),
            Just("size".to_owned()),
            Just("databases".to_owned()),
            Just("users".to_owned()),
            Just("password".to_owned()),
            Just("host".to_owned()),
            Just("datastore".to_owned()),
            Just("type".to_owned()),
            Just("upgrade".to_owned()),
            Just("datastore_version".to_owned()),
            Just("datastore_type".to_owned()),
            Just("replica_of".to_owned()),
            Just("auth".to_owned()),
            Just("identity".to_owned()),
            Just("methods".to_owned()),
            Just("scope".to_owned()),
            "\\PC{0,8}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(key.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json(), key in "\\PC{0,8}") {
            for engine in EngineKind::ALL {
                let _ = parse(json!({"instance": value.clone()}).as_object().unwrap(), engine);
                let _ = asked_version(json!({"instance": value.clone()}).as_object().unwrap());
            }
            let _ = parse(with(&key, value.clone()).as_object().unwrap(), EngineKind::MariaDb);
            for known in ["databases", "users", "nics", "access", "volume", "flavorRef", "datastore", "name"] {
                let _ = parse(with(known, value.clone()).as_object().unwrap(), EngineKind::Postgresql);
            }
        }
    }
}
