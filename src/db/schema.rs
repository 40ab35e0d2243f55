//! The tables, as diesel reads them. Held against the migrations by the test that migrates and queries each.
#![expect(missing_docs, reason = "the macro makes modules that cannot be documented one by one")]

diesel::table! {
    hosts (id) { id -> Text, instance_net -> Text, seen_at -> Timestamptz, }
}
diesel::table! {
    host_versions (host_id, datastore, series) {
        host_id -> Text, engine -> Text, series -> Text, version_number -> Text, seen_at -> Timestamptz,
        datastore -> Text, runtime -> Text,
    }
}
diesel::table! {
    datastores (id) { id -> Uuid, name -> Text, default_version_id -> Nullable<Uuid>, }
}
diesel::table! {
    datastore_versions (id) {
        id -> Uuid, datastore_id -> Uuid, name -> Text, version_number -> Text, engine -> Text,
        runtime -> Text, active -> Bool,
    }
}
diesel::table! {
    upgrade_paths (id) {
        id -> Uuid, from_version_id -> Uuid, to_version_id -> Uuid, ways -> Array<Text>, enabled -> Bool,
        note -> Text,
    }
}
diesel::table! {
    flavors (id) { id -> Text, name -> Text, ram_mb -> Integer, vcpus -> Integer, ordinal -> Integer, }
}
diesel::table! {
    instances (id) {
        id -> Uuid, project_id -> Text, name -> Text, state -> Text, flavor_id -> Text, volume_gb -> Integer,
        wanted_version_id -> Uuid, running_version_id -> Nullable<Uuid>, running_version_number -> Nullable<Text>,
        serving_generation_id -> Nullable<Uuid>, host_id -> Text, replica_of -> Nullable<Uuid>,
        fault_message -> Nullable<Text>, fault_details -> Nullable<Text>, fault_at -> Nullable<Timestamptz>,
        revision -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>, group_id -> Nullable<Uuid>, zone -> Nullable<Text>,
        defaults_of -> Nullable<Text>, configuration_id -> Nullable<Uuid>,
    }
}
diesel::table! {
    groups (id) {
        id -> Uuid, project_id -> Text, name -> Text, state -> Text, flavor_id -> Text, volume_gb -> Integer,
        wanted_version_id -> Uuid, host_id -> Text, fault_message -> Nullable<Text>,
        fault_details -> Nullable<Text>, fault_at -> Nullable<Timestamptz>, revision -> BigInt,
        created_at -> Timestamptz, updated_at -> Timestamptz, deleted_at -> Nullable<Timestamptz>,
    }
}
diesel::table! {
    generations (id) {
        id -> Uuid, instance_id -> Uuid, host_id -> Text, role -> Text, version_id -> Uuid, server_id -> BigInt,
        service_secret -> Text, read_only -> Bool, events -> Bool, wanted -> Text,
        answered_at -> Nullable<Timestamptz>, answered_version -> Nullable<Text>, trouble -> Nullable<Text>,
        used_bytes -> Nullable<BigInt>, created_at -> Timestamptz, keep_until -> Nullable<Timestamptz>,
        needs_restart -> Bool, volume_state -> Text, volume_state_since -> Timestamptz,
    }
}
diesel::table! {
    endpoints (instance_id) {
        instance_id -> Uuid, host_id -> Text, address -> Text, port -> Integer, connections -> Integer,
        generation_id -> Nullable<Uuid>,
        epoch -> BigInt, applied_epoch -> BigInt, listens -> Bool, protocol -> Text,
        allowed_cidrs -> Array<Text>, tls_only -> Bool, full_volume -> Bool,
    }
}
diesel::table! {
    tasks (id) {
        id -> Uuid, kind -> Text, project_id -> Text, host_id -> Text, state -> Text, phase -> Nullable<Text>,
        step -> Nullable<Text>, plan -> Jsonb, secrets -> Nullable<Text>, attempts -> Integer, redos -> Integer,
        reason -> Nullable<Text>, operator_reason -> Nullable<Text>, not_before -> Timestamptz,
        lease_owner -> Nullable<Text>, lease_until -> Nullable<Timestamptz>, lease_generation -> BigInt,
        created_at -> Timestamptz, updated_at -> Timestamptz, ended_at -> Nullable<Timestamptz>,
        cancel_asked -> Bool, report -> Jsonb, bytes -> Nullable<BigInt>, deferred -> Bool, asked_when -> Text,
        asked_not_before -> Nullable<Timestamptz>, asked_not_after -> Nullable<Timestamptz>,
        starts_at -> Nullable<Timestamptz>,
    }
}
diesel::table! {
    task_instances (task_id, instance_id) {
        task_id -> Uuid, instance_id -> Uuid, role -> Text, live -> Bool, planned -> Bool,
    }
}
diesel::table! {
    task_steps (id) {
        id -> BigInt, task_id -> Uuid, phase -> Text, step -> Text, attempt -> Integer, outcome -> Nullable<Text>,
        detail -> Nullable<Text>, progress -> Nullable<Text>, started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>, share -> Float4,
    }
}
diesel::table! {
    events (id) {
        id -> BigInt, at -> Timestamptz, project_id -> Text, instance_id -> Nullable<Uuid>,
        task_id -> Nullable<Uuid>, actor -> Text, what -> Text, data -> Jsonb,
    }
}
diesel::table! {
    relays (task_id) {
        task_id -> Uuid, host_id -> Text, generation_id -> Uuid, address -> Text, port -> Integer,
        listening -> Bool, listens -> Bool, protocol -> Text,
    }
}
diesel::table! {
    holds (instance_id) {
        instance_id -> Uuid, task_id -> Uuid, wait_ms -> Integer, cut -> Bool, since -> Timestamptz,
    }
}
diesel::table! {
    questions (id) {
        id -> Uuid, host_id -> Text, instance_id -> Uuid, kind -> Text, asked_at -> Timestamptz,
        expires_at -> Timestamptz, answer -> Nullable<Jsonb>, trouble -> Nullable<Text>,
        answered_at -> Nullable<Timestamptz>, about -> Jsonb,
    }
}
diesel::table! {
    accounts (host_id, name) { host_id -> Text, name -> Text, instance_id -> Nullable<Uuid>, }
}
diesel::table! {
    quotas (project_id, resource) {
        project_id -> Text, resource -> Text, most -> Integer, updated_at -> Timestamptz,
    }
}
diesel::table! {
    maintenance (only_one) { only_one -> Bool, is_on -> Bool, retry_after -> Integer, updated_at -> Timestamptz, }
}
diesel::table! {
    simulations (instance_id, step) {
        instance_id -> Uuid, step -> Text, ms -> Integer, fault -> Nullable<Text>,
    }
}
diesel::table! {
    authorities (id) {
        id -> Uuid, certificate -> Text, key_secret -> Text, created_at -> Timestamptz, state -> Text,
    }
}
diesel::table! {
    certificates (instance_id) {
        instance_id -> Uuid, authority_id -> Uuid, address -> Text, certificate -> Text, key_secret -> Text,
        created_at -> Timestamptz, renewed_at -> Nullable<Timestamptz>,
    }
}
diesel::table! {
    parameter_lists (version_id) {
        version_id -> Uuid, asked_at -> Timestamptz, taken_by -> Nullable<Text>, taken_until -> Nullable<Timestamptz>,
        lease -> BigInt, not_before -> Timestamptz,
        trouble -> Nullable<Text>, number -> Nullable<Text>, parameters -> Nullable<Jsonb>,
    }
}
diesel::table! {
    configurations (id) {
        id -> Uuid, project_id -> Text, name -> Text, description -> Nullable<Text>, version_id -> Uuid,
        content -> Jsonb, created_at -> Timestamptz, updated_at -> Timestamptz,
    }
}
diesel::table! {
    audit (id) {
        id -> BigInt, at -> Timestamptz, request_id -> Text, project_id -> Text, user_id -> Text, role -> Nullable<Text>,
        address -> Nullable<Text>, dialect -> Text, method -> Text, route -> Text, target -> Array<Text>, status -> Integer,
    }
}
