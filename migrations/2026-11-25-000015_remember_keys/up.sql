-- What was asked for under a key, so that the same request again is the same task. The primary key is the rule: of
-- any number that come at once, one makes a task.
create table idempotency_keys (
    project_id      text not null,
    -- The dialect's call.
    call            text not null,
    key             text not null check (length(key) between 1 and 255),
    -- A mark of the request under the service's key: equal requests have equal marks, and nothing is told by one.
    request         bytea not null,
    -- Written before it, in the same transaction.
    task_id         uuid not null references tasks (id) deferrable initially deferred,
    expires_at      timestamptz not null,
    primary key (project_id, call, key)
);
create index keys_to_clear on idempotency_keys (expires_at);
