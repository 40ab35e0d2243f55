


SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;


CREATE FUNCTION public.measure_task() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    select g.used_bytes into new.bytes from generations g
    where g.instance_id = coalesce(new.plan->>'source', new.plan->>'instance')::uuid and g.role = 'serving';
    return new;
end $$;



CREATE FUNCTION public.revise_catalogue() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    update catalogue set revision = gen_random_uuid();
    return null;
end $$;



CREATE FUNCTION public.simulated_write(server uuid, text) RETURNS bigint
    LANGUAGE plpgsql
    AS $_$
declare
    machine simulated_servers;
    place bigint;
begin
    select * into machine from simulated_servers where generation_id = server for update;
    if machine.state is distinct from 'running' then
        raise exception 'the simulated server does not run';
    end if;
    if machine.read_only then
        raise exception 'the simulated server is read-only';
    end if;
    select coalesce(max(position), 0) + 1 into place from simulated_writes where generation_id = server;
    insert into simulated_writes (generation_id, position, payload) values (server, place, $2);
    return place;
end $_$;



CREATE FUNCTION public.wake() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify(tg_argv[0], '');
    return null;
end $$;


SET default_tablespace = '';

SET default_table_access_method = heap;


CREATE TABLE public.__diesel_schema_migrations (
    version character varying(50) NOT NULL,
    run_on timestamp without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);



CREATE TABLE public.access_keys (
    id text NOT NULL,
    user_id text NOT NULL,
    project_id text NOT NULL,
    roles text[] NOT NULL,
    secret text NOT NULL,
    old_secret text,
    old_until timestamp with time zone,
    enabled boolean DEFAULT true NOT NULL,
    built_in boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT access_keys_check CHECK (((old_secret IS NULL) = (old_until IS NULL))),
    CONSTRAINT access_keys_id_check CHECK ((id ~ '^[A-Z0-9]{16,64}$'::text))
);



CREATE TABLE public.accounts (
    host_id text NOT NULL,
    name text NOT NULL,
    instance_id uuid
);



CREATE SEQUENCE public.addresses
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;



CREATE TABLE public.authorities (
    id uuid NOT NULL,
    certificate text NOT NULL,
    key_secret text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);



CREATE TABLE public.catalogue (
    only_one boolean DEFAULT true NOT NULL,
    revision uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT catalogue_only_one_check CHECK (only_one)
);



CREATE TABLE public.certificates (
    instance_id uuid NOT NULL,
    authority_id uuid NOT NULL,
    address text NOT NULL,
    certificate text NOT NULL,
    key_secret text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);



CREATE TABLE public.datastore_versions (
    id uuid NOT NULL,
    datastore_id uuid NOT NULL,
    name text NOT NULL,
    version_number text NOT NULL,
    engine text NOT NULL,
    runtime text NOT NULL,
    active boolean DEFAULT true NOT NULL,
    CONSTRAINT datastore_versions_engine_check CHECK ((engine = ANY (ARRAY['mariadb'::text, 'mysql'::text, 'postgresql'::text]))),
    CONSTRAINT datastore_versions_runtime_check CHECK ((runtime = ANY (ARRAY['process'::text, 'docker'::text, 'simulated'::text])))
);



CREATE TABLE public.datastores (
    id uuid NOT NULL,
    name text NOT NULL,
    default_version_id uuid,
    CONSTRAINT datastores_name_check CHECK ((name = lower(name)))
);



CREATE TABLE public.endpoints (
    instance_id uuid NOT NULL,
    host_id text NOT NULL,
    address text NOT NULL,
    port integer NOT NULL,
    generation_id uuid,
    connections integer NOT NULL,
    epoch bigint DEFAULT 1 NOT NULL,
    applied_epoch bigint DEFAULT 0 NOT NULL,
    listens boolean DEFAULT true NOT NULL,
    protocol text DEFAULT 'mysql'::text NOT NULL,
    CONSTRAINT endpoints_connections_check CHECK ((connections > 0)),
    CONSTRAINT endpoints_port_check CHECK (((port >= 1) AND (port <= 65535))),
    CONSTRAINT endpoints_protocol_check CHECK ((protocol = ANY (ARRAY['mysql'::text, 'postgresql'::text])))
);



CREATE TABLE public.events (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    project_id text NOT NULL,
    instance_id uuid,
    task_id uuid,
    actor text NOT NULL,
    what text NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL
);



ALTER TABLE public.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);



CREATE TABLE public.flavors (
    id text NOT NULL,
    name text NOT NULL,
    ram_mb integer NOT NULL,
    vcpus integer NOT NULL,
    ordinal integer NOT NULL,
    CONSTRAINT flavors_ram_mb_check CHECK ((ram_mb > 0)),
    CONSTRAINT flavors_vcpus_check CHECK ((vcpus > 0))
);



CREATE SEQUENCE public.server_ids
    START WITH 1000
    INCREMENT BY 1
    MINVALUE 1000
    MAXVALUE 4294967295
    CACHE 1;



CREATE TABLE public.generations (
    id uuid NOT NULL,
    instance_id uuid NOT NULL,
    host_id text NOT NULL,
    role text NOT NULL,
    version_id uuid NOT NULL,
    server_id bigint DEFAULT nextval('public.server_ids'::regclass) NOT NULL,
    service_secret text NOT NULL,
    read_only boolean NOT NULL,
    events boolean NOT NULL,
    wanted text NOT NULL,
    answered_at timestamp with time zone,
    answered_version text,
    trouble text,
    used_bytes bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    keep_until timestamp with time zone,
    CONSTRAINT generations_check CHECK (((role = 'retired'::text) = (keep_until IS NOT NULL))),
    CONSTRAINT generations_role_check CHECK ((role = ANY (ARRAY['candidate'::text, 'serving'::text, 'retired'::text, 'dropped'::text]))),
    CONSTRAINT generations_wanted_check CHECK ((wanted = ANY (ARRAY['running'::text, 'stopped'::text])))
);



CREATE TABLE public.groups (
    id uuid NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    flavor_id text NOT NULL,
    volume_gb integer NOT NULL,
    wanted_version_id uuid NOT NULL,
    host_id text NOT NULL,
    fault_message text,
    fault_details text,
    fault_at timestamp with time zone,
    revision bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT groups_check CHECK (((state = 'deleted'::text) = (deleted_at IS NOT NULL))),
    CONSTRAINT groups_check1 CHECK (((fault_message IS NULL) = (fault_at IS NULL))),
    CONSTRAINT groups_name_check CHECK (((length(name) >= 1) AND (length(name) <= 255))),
    CONSTRAINT groups_state_check CHECK ((state = ANY (ARRAY['building'::text, 'active'::text, 'upgrading'::text, 'failing_over'::text, 'deleting'::text, 'error'::text, 'deleted'::text]))),
    CONSTRAINT groups_volume_gb_check CHECK ((volume_gb > 0))
);



CREATE TABLE public.holds (
    instance_id uuid NOT NULL,
    task_id uuid NOT NULL,
    wait_ms integer NOT NULL,
    cut boolean DEFAULT false NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT holds_wait_ms_check CHECK (((wait_ms >= 0) AND (wait_ms <= 30000)))
);



CREATE TABLE public.host_versions (
    host_id text NOT NULL,
    engine text NOT NULL,
    series text NOT NULL,
    version_number text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    datastore text NOT NULL,
    runtime text DEFAULT 'process'::text NOT NULL,
    CONSTRAINT host_versions_engine_check CHECK ((engine = ANY (ARRAY['mariadb'::text, 'mysql'::text, 'postgresql'::text]))),
    CONSTRAINT host_versions_runtime_check CHECK ((runtime = ANY (ARRAY['process'::text, 'docker'::text, 'simulated'::text])))
);



CREATE TABLE public.hosts (
    id text NOT NULL,
    instance_net text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);



CREATE TABLE public.idempotency_keys (
    project_id text NOT NULL,
    call text NOT NULL,
    key text NOT NULL,
    request bytea NOT NULL,
    task_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);



CREATE TABLE public.inspections (
    id uuid NOT NULL,
    number bigint NOT NULL,
    instance_id uuid NOT NULL,
    from_version_id uuid NOT NULL,
    target text NOT NULL,
    checked_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    passed boolean NOT NULL,
    detail text NOT NULL,
    task_id uuid,
    statistics text,
    strategy text,
    question_id uuid,
    answer_by timestamp with time zone,
    CONSTRAINT inspections_run_until CHECK (((question_id IS NULL) = (answer_by IS NULL))),
    CONSTRAINT inspections_run_without_result CHECK (((question_id IS NULL) OR (NOT passed)))
);



ALTER TABLE public.inspections ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.inspections_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);



CREATE TABLE public.instances (
    id uuid NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    flavor_id text NOT NULL,
    volume_gb integer NOT NULL,
    wanted_version_id uuid NOT NULL,
    running_version_id uuid,
    running_version_number text,
    serving_generation_id uuid,
    host_id text NOT NULL,
    replica_of uuid,
    fault_message text,
    fault_details text,
    fault_at timestamp with time zone,
    revision bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    group_id uuid,
    zone text,
    defaults_of text,
    CONSTRAINT instances_check CHECK (((state = 'deleted'::text) = (deleted_at IS NOT NULL))),
    CONSTRAINT instances_check1 CHECK (((running_version_id IS NULL) = (serving_generation_id IS NULL))),
    CONSTRAINT instances_check2 CHECK (((fault_message IS NULL) = (fault_at IS NULL))),
    CONSTRAINT instances_check3 CHECK (((group_id IS NULL) = (zone IS NULL))),
    CONSTRAINT instances_name_check CHECK (((length(name) >= 1) AND (length(name) <= 255))),
    CONSTRAINT instances_state_check CHECK ((state = ANY (ARRAY['building'::text, 'active'::text, 'feeding_upgrade'::text, 'verify_upgrade'::text, 'upgrading'::text, 'detaching'::text, 'deleting'::text, 'error'::text, 'deleted'::text]))),
    CONSTRAINT instances_volume_gb_check CHECK ((volume_gb > 0))
);



CREATE TABLE public.looks (
    question_id uuid NOT NULL,
    host_id text NOT NULL,
    instance_id uuid NOT NULL,
    source_id uuid NOT NULL,
    candidate_id uuid DEFAULT gen_random_uuid() NOT NULL,
    version text NOT NULL,
    taken_until timestamp with time zone NOT NULL
);



CREATE TABLE public.maintenance (
    only_one boolean DEFAULT true NOT NULL,
    is_on boolean DEFAULT false NOT NULL,
    retry_after integer DEFAULT 30 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT maintenance_only_one_check CHECK (only_one),
    CONSTRAINT maintenance_retry_after_check CHECK (((retry_after >= 1) AND (retry_after <= 86400)))
);



CREATE TABLE public.questions (
    id uuid NOT NULL,
    host_id text NOT NULL,
    instance_id uuid NOT NULL,
    kind text NOT NULL,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    answer jsonb,
    trouble text,
    answered_at timestamp with time zone,
    about jsonb DEFAULT 'null'::jsonb NOT NULL
);



CREATE TABLE public.quotas (
    project_id text NOT NULL,
    resource text NOT NULL,
    most integer NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT quotas_most_check CHECK ((most >= '-1'::integer)),
    CONSTRAINT quotas_resource_check CHECK ((resource = ANY (ARRAY['instances'::text, 'volumes'::text, 'backups'::text, 'ram'::text])))
);



CREATE TABLE public.relays (
    task_id uuid NOT NULL,
    host_id text NOT NULL,
    generation_id uuid NOT NULL,
    address text NOT NULL,
    port integer NOT NULL,
    listening boolean DEFAULT false NOT NULL,
    listens boolean DEFAULT true NOT NULL,
    protocol text DEFAULT 'mysql'::text NOT NULL,
    CONSTRAINT relays_port_check CHECK (((port >= 1) AND (port <= 65535))),
    CONSTRAINT relays_protocol_check CHECK ((protocol = ANY (ARRAY['mysql'::text, 'postgresql'::text])))
);



CREATE TABLE public.signature_nonces (
    access_key text NOT NULL,
    nonce text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT signature_nonces_nonce_check CHECK (((length(nonce) >= 1) AND (length(nonce) <= 128)))
);



CREATE TABLE public.simulated_servers (
    generation_id uuid NOT NULL,
    state text NOT NULL,
    version_number text NOT NULL,
    read_only boolean DEFAULT true NOT NULL,
    events boolean DEFAULT false NOT NULL,
    databases jsonb DEFAULT '[]'::jsonb NOT NULL,
    users jsonb DEFAULT '[]'::jsonb NOT NULL,
    follows uuid,
    applied bigint DEFAULT 0 NOT NULL,
    lag_ms integer DEFAULT 100 NOT NULL,
    CONSTRAINT simulated_servers_lag_ms_check CHECK ((lag_ms >= 0)),
    CONSTRAINT simulated_servers_state_check CHECK ((state = ANY (ARRAY['stopped'::text, 'running'::text, 'dead'::text])))
);



CREATE TABLE public.simulated_writes (
    generation_id uuid NOT NULL,
    "position" bigint NOT NULL,
    payload text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);



CREATE TABLE public.simulations (
    instance_id uuid NOT NULL,
    step text NOT NULL,
    ms integer DEFAULT 0 NOT NULL,
    fault text,
    CONSTRAINT simulations_fault_check CHECK ((fault = ANY (ARRAY['fail'::text, 'hang'::text, 'die'::text]))),
    CONSTRAINT simulations_ms_check CHECK (((ms >= 0) AND (ms <= 3600000)))
);



CREATE TABLE public.task_instances (
    task_id uuid NOT NULL,
    instance_id uuid NOT NULL,
    role text NOT NULL,
    live boolean DEFAULT true NOT NULL,
    planned boolean DEFAULT false NOT NULL,
    CONSTRAINT task_instances_check CHECK ((NOT (planned AND live))),
    CONSTRAINT task_instances_role_check CHECK ((role = ANY (ARRAY['subject'::text, 'source'::text, 'candidate'::text])))
);



CREATE TABLE public.task_steps (
    id bigint NOT NULL,
    task_id uuid NOT NULL,
    phase text NOT NULL,
    step text NOT NULL,
    attempt integer NOT NULL,
    outcome text,
    detail text,
    progress text,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    share real DEFAULT 0 NOT NULL,
    CONSTRAINT task_steps_check CHECK (((outcome IS NULL) = (ended_at IS NULL))),
    CONSTRAINT task_steps_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'retry'::text, 'redo'::text, 'failed'::text]))),
    CONSTRAINT task_steps_share_check CHECK (((share >= (0)::double precision) AND (share <= (1)::double precision)))
);



ALTER TABLE public.task_steps ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.task_steps_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);



CREATE TABLE public.tasks (
    id uuid NOT NULL,
    kind text NOT NULL,
    project_id text NOT NULL,
    host_id text NOT NULL,
    state text NOT NULL,
    phase text,
    step text,
    plan jsonb NOT NULL,
    secrets text,
    attempts integer DEFAULT 0 NOT NULL,
    redos integer DEFAULT 0 NOT NULL,
    reason text,
    operator_reason text,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    lease_owner text,
    lease_until timestamp with time zone,
    lease_generation bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    cancel_asked boolean DEFAULT false NOT NULL,
    report jsonb DEFAULT '{}'::jsonb NOT NULL,
    bytes bigint,
    deferred boolean DEFAULT false NOT NULL,
    asked_when text DEFAULT 'now'::text NOT NULL,
    asked_not_before timestamp with time zone,
    asked_not_after timestamp with time zone,
    starts_at timestamp with time zone,
    number bigint NOT NULL,
    CONSTRAINT tasks_asked_when_check CHECK ((asked_when = ANY (ARRAY['now'::text, 'window'::text, 'at'::text]))),
    CONSTRAINT tasks_check CHECK (((state = 'running'::text) = ((phase IS NOT NULL) AND (step IS NOT NULL)))),
    CONSTRAINT tasks_check1 CHECK (((ended_at IS NOT NULL) = (state = ANY (ARRAY['succeeded'::text, 'rolled_back'::text, 'cancelled'::text])))),
    CONSTRAINT tasks_check2 CHECK (((NOT deferred) OR (state = 'scheduled'::text))),
    CONSTRAINT tasks_check3 CHECK (((asked_when = 'at'::text) = ((asked_not_before IS NOT NULL) AND (asked_not_after IS NOT NULL)))),
    CONSTRAINT tasks_check4 CHECK (((asked_when = 'now'::text) OR (starts_at IS NOT NULL))),
    CONSTRAINT tasks_kind_check CHECK ((kind = ANY (ARRAY['create'::text, 'delete'::text, 'upgrade'::text, 'upgrade_auto'::text, 'upgrade_in_place'::text, 'upgrade_twin'::text, 'create_group'::text, 'delete_group'::text, 'upgrade_rolling'::text, 'switch_back'::text, 'failover'::text]))),
    CONSTRAINT tasks_phase_check CHECK ((phase = ANY (ARRAY['forward'::text, 'detach'::text, 'abandon'::text, 'undo'::text, 'finish'::text]))),
    CONSTRAINT tasks_state_check CHECK ((state = ANY (ARRAY['scheduled'::text, 'running'::text, 'verifying'::text, 'succeeded'::text, 'rolled_back'::text, 'cancelled'::text, 'needs_operator'::text])))
);



ALTER TABLE public.tasks ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.tasks_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);



CREATE TABLE public.upgrade_paths (
    id uuid NOT NULL,
    from_version_id uuid NOT NULL,
    to_version_id uuid NOT NULL,
    ways text[] NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    CONSTRAINT upgrade_paths_check CHECK ((from_version_id <> to_version_id)),
    CONSTRAINT upgrade_paths_ways_check CHECK ((ways <@ ARRAY['replica'::text, 'in_place'::text, 'twin'::text, 'rolling'::text]))
);



CREATE TABLE public.upgrade_policies (
    instance_id uuid NOT NULL,
    minor text NOT NULL,
    asked_window timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT upgrade_policies_minor_check CHECK ((minor = ANY (ARRAY['off'::text, 'window'::text])))
);



CREATE TABLE public.windows (
    project_id text NOT NULL,
    instance_id uuid,
    days smallint NOT NULL,
    start_minute smallint NOT NULL,
    minutes smallint NOT NULL,
    zone text NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT windows_days_check CHECK (((days >= 1) AND (days <= 127))),
    CONSTRAINT windows_minutes_check CHECK (((minutes >= 10) AND (minutes <= 1440))),
    CONSTRAINT windows_start_minute_check CHECK (((start_minute >= 0) AND (start_minute <= 1439)))
);



INSERT INTO public.__diesel_schema_migrations VALUES ('20261122000001', '2026-11-30 12:31:26.385497');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261122000002', '2026-11-30 12:31:26.43096');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261122000003', '2026-11-30 12:31:26.437614');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261122000004', '2026-11-30 12:31:26.443135');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261122000005', '2026-11-30 12:31:26.447538');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261123000008', '2026-11-30 12:31:26.450343');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000009', '2026-11-30 12:31:26.453277');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000010', '2026-11-30 12:31:26.454163');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000012', '2026-11-30 12:31:26.458382');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000013', '2026-11-30 12:31:26.459585');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000014', '2026-11-30 12:31:26.460316');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000015', '2026-11-30 12:31:26.465482');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000016', '2026-11-30 12:31:26.468528');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000020', '2026-11-30 12:31:26.47102');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000023', '2026-11-30 12:31:26.476235');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000026', '2026-11-30 12:31:26.48127');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261125000030', '2026-11-30 12:31:26.485606');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261129000040', '2026-11-30 12:31:26.491942');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261130000050', '2026-11-30 12:31:26.492699');
INSERT INTO public.__diesel_schema_migrations VALUES ('20261130000051', '2026-11-30 12:31:26.496468');






INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i00', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i01', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i02', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i03', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i04', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i05', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i06', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i07', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i08', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i09', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i10', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i11', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i12', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i13', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i14', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i15', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i16', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i17', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i18', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i19', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i20', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i21', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i22', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i23', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i24', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i25', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i26', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i27', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i28', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i29', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i30', NULL);
INSERT INTO public.accounts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'coffer-i31', NULL);



INSERT INTO public.authorities VALUES ('998dcb30-ac32-45ed-ac06-ce746ac7e7e7', '-----BEGIN CERTIFICATE-----
MIIBxzCCAW2gAwIBAgIURkcmF5S5F4EY414zTs5Z6dOEsH8wCgYIKoZIzj0EAwIw
QDE+MDwGA1UEAww1Y29mZmVyIGF1dGhvcml0eSA5OThkY2IzMC1hYzMyLTQ1ZWQt
YWMwNi1jZTc0NmFjN2U3ZTcwHhcNMjUwMTAxMDAwMDAwWhcNNDYwMTAxMDAwMDAw
WjBAMT4wPAYDVQQDDDVjb2ZmZXIgYXV0aG9yaXR5IDk5OGRjYjMwLWFjMzItNDVl
ZC1hYzA2LWNlNzQ2YWM3ZTdlNzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLt3
vDqepIHQf5ODqcGfvFw9uySJwRyKmg/+vDi+UPkwTvmFSO4SVwxE5shiiOBAiqWd
CHX6ndqcOYPfI+A0RVOjRTBDMA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQU1km3
RgTqzrvpZQIPkIFImhi/1bAwEgYDVR0TAQH/BAgwBgEB/wIBADAKBggqhkjOPQQD
AgNIADBFAiBpLdXqltGb2fwbjx02VVx6ZbgFmAqWMoGplfH9HF+uzgIhAJPos3wy
Fa2eJQ+T8F9zfB9JQGlO4st9RsisOjGEDKg0
', '1.c434e63a.peJDB4EhOvBiXADY.AVlO/Cdo72bF5V3b/J+zd3b7C/9WKKdJZO34Cbpoa/sbt8W71vqB5RwvGlSmN2//u77r5iCRePODqW+E7QhWKl6KuIy7C7THtkUZFWKRMolHOhX9mOlqPHXJgs9Tc5Y2v7AOUxv6sXFLcfMltG4RKWbwvtilpk3l8B76Fd66nQmFfnIMFIe3wYptKupDqX5NjCAqe6OO2faznnUbsnZi31Gq2fATxRjOZ1CX5m3T9YmBlJVF9sG/lIJU3eSv+f+rs2qhKL7xup6I0KVGqKaIsXf/QzQfcoyVnnwkhNeL/qXJiXWcyg22HSnzUbLC1sGwHVnKNOdrWm999+6D1tjF3zQ', '2026-11-30 12:31:26.642643+00');



INSERT INTO public.catalogue VALUES (true, 'fe1250da-f05f-4027-a3ac-38eb385021e7');






INSERT INTO public.datastore_versions VALUES ('c925ebfa-dd61-466a-b0bf-8ec34c3d6c0d', 'b7626836-3250-4cef-8300-9e31c280362f', '5.1', '5.1.73', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('8eef140c-23ad-44fe-9912-d236e41a94a9', 'b7626836-3250-4cef-8300-9e31c280362f', '5.5', '5.5.62', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('86df47b8-929c-493d-96aa-da21e0eb05b0', 'b7626836-3250-4cef-8300-9e31c280362f', '5.6', '5.6.51', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('bec9588f-e94e-4cdf-bc7f-706d2782e948', 'b7626836-3250-4cef-8300-9e31c280362f', '5.7', '5.7.44', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('d09f7b54-c5c2-415c-94fe-b5533c53cc96', 'b7626836-3250-4cef-8300-9e31c280362f', '8.0', '8.0.40', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('0643e528-af7f-4ba8-8f88-451e33e01211', '6772788d-5b67-4cc9-a69e-81c26f1630e8', '5.7', '5.7.44', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('0bd5c4a0-cc9f-4c10-a887-f915f3a0ff15', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10', '10.0.38', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('68148ed8-d52a-47ce-8808-91c5a90a8a3c', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.1', '10.1.48', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('4abd4b07-9c44-45c2-a447-f0b3389ca57b', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.4', '10.4.34', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('b1f80434-a8e0-4ae8-971b-b660b7fb8b3b', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.1enc', '10.1.48', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('7198d358-41c0-4737-a806-643ae07109a7', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.4enc', '10.4.34', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('6700ca15-b54f-4b4b-b38d-7fef8cda0c93', '561976ea-792e-4b68-92a2-a01d698cc6fa', '11', '11.22', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('2d933033-670e-49ca-aa8e-715775d5e04b', '561976ea-792e-4b68-92a2-a01d698cc6fa', '12', '12.22', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('44182bd5-a010-4583-a030-2b3d91ac9a7c', '561976ea-792e-4b68-92a2-a01d698cc6fa', '14', '14.20', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('502895ee-496f-426d-b16e-c222e5343cfc', '561976ea-792e-4b68-92a2-a01d698cc6fa', '15', '15.15', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('d7573f0b-fd94-4197-988f-eff8919f13df', '561976ea-792e-4b68-92a2-a01d698cc6fa', '16', '16.11', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('985659a9-c22c-4ef5-9c10-1305c08ebfe8', 'b7626836-3250-4cef-8300-9e31c280362f', '5.1.72', '5.1.72', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('beee797e-d55f-4f46-bfb4-aff8be08686a', 'b7626836-3250-4cef-8300-9e31c280362f', '5.5.61', '5.5.61', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('a6a60fac-73ec-411e-a012-387f69637efc', 'b7626836-3250-4cef-8300-9e31c280362f', '5.6.50', '5.6.50', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('579c1404-7c7a-4872-88d1-a3d2b7829618', 'b7626836-3250-4cef-8300-9e31c280362f', '5.7.43', '5.7.43', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('ad528f58-19e4-4f57-b52e-25f748585b52', 'b7626836-3250-4cef-8300-9e31c280362f', '8.0.39', '8.0.39', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('ac4b3d8a-4488-4d31-85be-a7a82912d14e', '6772788d-5b67-4cc9-a69e-81c26f1630e8', '5.7.43', '5.7.43', 'mysql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('db7685da-f539-4b76-9d9f-1d2b55021269', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.0.37', '10.0.37', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('12797ea0-94cb-4b03-866f-8663d7ef3403', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.1.47', '10.1.47', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('cc6ad32f-983f-4fec-9c44-e50cedd9fba9', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.4.33', '10.4.33', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('42088d8e-6beb-4e29-8d9c-026fcaa0c99e', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.1.47enc', '10.1.47', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('7539f66e-4198-42b9-84bc-2685ddbae2db', 'fe8f469b-cfd8-416f-b73d-64143e55a370', '10.4.33enc', '10.4.33', 'mariadb', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('e367e813-b4c5-41f8-997e-5aab3ed4d1d9', '561976ea-792e-4b68-92a2-a01d698cc6fa', '11.1', '11.1', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('c276696b-7daf-4a11-b528-981117e7ccc4', '561976ea-792e-4b68-92a2-a01d698cc6fa', '12.21', '12.21', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('ea092568-f848-4099-a8a9-2d86657cb6c1', '561976ea-792e-4b68-92a2-a01d698cc6fa', '14.19', '14.19', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('c651dcda-8170-4419-81df-4dce3cbf1ab6', '561976ea-792e-4b68-92a2-a01d698cc6fa', '15.14', '15.14', 'postgresql', 'simulated', true);
INSERT INTO public.datastore_versions VALUES ('c39d6dda-0626-419d-a8f3-c21c86251459', '561976ea-792e-4b68-92a2-a01d698cc6fa', '16.10', '16.10', 'postgresql', 'simulated', true);



INSERT INTO public.datastores VALUES ('fe8f469b-cfd8-416f-b73d-64143e55a370', 'mariadb', '4abd4b07-9c44-45c2-a447-f0b3389ca57b');
INSERT INTO public.datastores VALUES ('b7626836-3250-4cef-8300-9e31c280362f', 'mysql', 'd09f7b54-c5c2-415c-94fe-b5533c53cc96');
INSERT INTO public.datastores VALUES ('6772788d-5b67-4cc9-a69e-81c26f1630e8', 'percona', '0643e528-af7f-4ba8-8f88-451e33e01211');
INSERT INTO public.datastores VALUES ('561976ea-792e-4b68-92a2-a01d698cc6fa', 'postgresql', 'd7573f0b-fd94-4197-988f-eff8919f13df');



INSERT INTO public.endpoints VALUES ('3c55d447-5777-4c9d-a783-83b52658b73c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', '127.98.0.1', 3306, 'ebaa4f6c-77d2-47a3-9138-e36a733beace', 128, 2, 2, false, 'mysql');
INSERT INTO public.endpoints VALUES ('a0ca8b8c-a759-455b-a0f5-970cc6894d74', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', '127.98.0.2', 3306, 'a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 128, 2, 2, false, 'mysql');
INSERT INTO public.endpoints VALUES ('73bfda41-92d8-4f60-88bf-2fc85e68e88e', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', '127.98.0.3', 3306, '8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 128, 2, 2, false, 'mysql');
INSERT INTO public.endpoints VALUES ('32edb4b8-6b92-42dc-a550-e318058ae2b7', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', '127.98.0.4', 3306, '97b407d9-924c-4a70-9591-32028cd1e9e5', 128, 6, 6, false, 'mysql');
INSERT INTO public.endpoints VALUES ('c10554eb-3837-43bb-b460-40c32ce82922', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', '127.98.0.5', 3306, '7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 128, 4, 4, false, 'mysql');



INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (1, '2026-11-30 12:31:26.818106+00', '12a616d23ff340e59c2dcf38a0585b0c', '3c55d447-5777-4c9d-a783-83b52658b73c', '01a22c70-4c5d-717a-8c4a-a586ecdfd343', '4458e27224494e06aa1c34e215d10b5e', 'create_accepted', '{}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (2, '2026-11-30 12:31:27.11755+00', '12a616d23ff340e59c2dcf38a0585b0c', 'a0ca8b8c-a759-455b-a0f5-970cc6894d74', '01a22c70-4d8c-76f7-858f-97dc9c83ece2', '4458e27224494e06aa1c34e215d10b5e', 'create_accepted', '{}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (3, '2026-11-30 12:31:27.443677+00', '12a616d23ff340e59c2dcf38a0585b0c', 'a0ca8b8c-a759-455b-a0f5-970cc6894d74', '01a22c70-4ecc-72bc-abd2-86e18c1882f9', '4458e27224494e06aa1c34e215d10b5e', 'upgrade_accepted', '{}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (4, '2026-11-30 12:31:27.670716+00', '12a616d23ff340e59c2dcf38a0585b0c', '32edb4b8-6b92-42dc-a550-e318058ae2b7', '01a22c70-4fb5-7587-926d-e33084eca28d', '4458e27224494e06aa1c34e215d10b5e', 'create_accepted', '{}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (5, '2026-11-30 12:31:27.978871+00', '12a616d23ff340e59c2dcf38a0585b0c', '32edb4b8-6b92-42dc-a550-e318058ae2b7', '01a22c70-50ea-7475-ad75-3e835d2820cf', '4458e27224494e06aa1c34e215d10b5e', 'upgrade_accepted', '{}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (6, '2026-11-30 12:31:30.379711+00', '12a616d23ff340e59c2dcf38a0585b0c', 'c10554eb-3837-43bb-b460-40c32ce82922', '01a22c70-5a4a-7051-8072-e03780e219f0', '4458e27224494e06aa1c34e215d10b5e', 'create_accepted', '{}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (7, '2026-11-30 12:31:30.970112+00', '12a616d23ff340e59c2dcf38a0585b0c', 'c10554eb-3837-43bb-b460-40c32ce82922', '01a22c70-5c99-77b1-864f-75c7edd4f557', '4458e27224494e06aa1c34e215d10b5e', 'upgrade_accepted', '{}');



INSERT INTO public.flavors VALUES ('1', '512MB Instance', 512, 1, 1);
INSERT INTO public.flavors VALUES ('2', '1GB Instance', 1024, 1, 2);
INSERT INTO public.flavors VALUES ('3', '2GB Instance', 2048, 1, 3);
INSERT INTO public.flavors VALUES ('4', '4GB Instance', 4096, 2, 4);
INSERT INTO public.flavors VALUES ('5', '8GB Instance', 8192, 3, 5);
INSERT INTO public.flavors VALUES ('6', '16GB Instance', 16384, 4, 6);
INSERT INTO public.flavors VALUES ('7', '32GB Instance', 32768, 5, 7);
INSERT INTO public.flavors VALUES ('8', '64GB Instance', 65536, 6, 8);



INSERT INTO public.generations VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 'c10554eb-3837-43bb-b460-40c32ce82922', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'candidate', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', 1006, '1.c434e63a.lQA+0KeGkrB9tJ8J.aGtNUaUtDeeeXtuvPjrLqalpJ5oFhAfLsHoGoN8MzDL8MICKLnBPmEgYwpiDLvkk', true, false, 'running', '2026-11-30 12:31:32.671382+00', '10.4.34', NULL, 264, '2026-11-30 12:31:30.970112+00', NULL);
INSERT INTO public.generations VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', '3c55d447-5777-4c9d-a783-83b52658b73c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'serving', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', 1000, '1.c434e63a.LsPiGaRYwqygWFXD.NXlASfEuZB/4sWFqpqPJ1DhE7zM5dYPqYH8wEhOHl95RXJr70zwWwA/3Ytjgx04J', false, true, 'running', '2026-11-30 12:31:32.671467+00', '10.1.48', NULL, 276, '2026-11-30 12:31:26.818106+00', NULL);
INSERT INTO public.generations VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', '32edb4b8-6b92-42dc-a550-e318058ae2b7', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'serving', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', 1004, '1.c434e63a.AznzqUJ3cYFUQ8P6.e4MB6H1j/o/NXxrfdzJulqZ71FbU42rOmVN/NH0ale5S4McFybuFjBJoOSBNLMLH', false, true, 'running', '2026-11-30 12:31:32.671879+00', '10.4.34', NULL, 264, '2026-11-30 12:31:27.978871+00', NULL);
INSERT INTO public.generations VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 'a0ca8b8c-a759-455b-a0f5-970cc6894d74', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'serving', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', 1001, '1.c434e63a./ImurBwMjegBQKLA.xkqdsZbGIF09Cm8bVfS/9vmn4Jp8qX31OVLWNfD0j+9dTSvU6Sb0uQFmThamGDFW', false, true, 'running', '2026-11-30 12:31:32.672932+00', '10.1.48', NULL, 264, '2026-11-30 12:31:27.11755+00', NULL);
INSERT INTO public.generations VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', '32edb4b8-6b92-42dc-a550-e318058ae2b7', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'retired', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', 1003, '1.c434e63a.pHXSXhqjqIKKDT9M./Ygk9gSpxrwcsHuq37o+69C27W4/0q9BXTr4ZsyCCGwMPJClLlV1p7FjiJ9rD8tD', true, false, 'stopped', '2026-11-30 12:31:28.640928+00', '10.1.48', NULL, 264, '2026-11-30 12:31:27.670716+00', '2100-01-01 00:00:00+00');
INSERT INTO public.generations VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', '73bfda41-92d8-4f60-88bf-2fc85e68e88e', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'serving', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', 1002, '1.c434e63a.SG6e1E+9miKeznuI.XbLEkm2+GjMKNOHKyMZeYj9STYY8gUuP/aU/CkA3Ng9agKaZbyCccKueAONWRBC4', true, false, 'running', '2026-11-30 12:31:32.682451+00', '10.4.34', NULL, 264, '2026-11-30 12:31:27.443677+00', NULL);
INSERT INTO public.generations VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 'c10554eb-3837-43bb-b460-40c32ce82922', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'serving', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', 1005, '1.c434e63a.Fj7bS7Ku2qlroxXu.iyt/COqXuW/RybRcuKVFE4xnCdZ6mDP9uDMJ6LwPttGdQeDg6DnqdQBgVZUarZyB', true, false, 'running', '2026-11-30 12:31:32.67088+00', '10.1.48', NULL, 36, '2026-11-30 12:31:30.379711+00', NULL);






INSERT INTO public.holds VALUES ('c10554eb-3837-43bb-b460-40c32ce82922', '01a22c70-5c99-77b1-864f-75c7edd4f557', 5000, true, '2026-11-30 12:31:33.139702+00');



INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.1', '5.1.73', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.5', '5.5.62', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.6', '5.6.51', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.7', '5.7.44', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '8.0', '8.0.40', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.7', '5.7.44', '2026-11-30 12:31:26.555639+00', 'percona', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10', '10.0.38', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.1', '10.1.48', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.4', '10.4.34', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.1enc', '10.1.48', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.4enc', '10.4.34', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '11', '11.22', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '12', '12.22', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '14', '14.20', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '15', '15.15', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '16', '16.11', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.1.72', '5.1.72', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.5.61', '5.5.61', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.6.50', '5.6.50', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.7.43', '5.7.43', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '8.0.39', '8.0.39', '2026-11-30 12:31:26.555639+00', 'mysql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mysql', '5.7.43', '5.7.43', '2026-11-30 12:31:26.555639+00', 'percona', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.0.37', '10.0.37', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.1.47', '10.1.47', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.4.33', '10.4.33', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.1.47enc', '10.1.47', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'mariadb', '10.4.33enc', '10.4.33', '2026-11-30 12:31:26.555639+00', 'mariadb', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '11.1', '11.1', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '12.21', '12.21', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '14.19', '14.19', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '15.14', '15.14', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');
INSERT INTO public.host_versions VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'postgresql', '16.10', '16.10', '2026-11-30 12:31:26.555639+00', 'postgresql', 'simulated');



INSERT INTO public.hosts VALUES ('b73d9b88-9463-4e4a-aa40-eecd0a613d47', '127.98.0.0/16', '2026-11-30 12:31:32.658246+00');









INSERT INTO public.instances VALUES ('3c55d447-5777-4c9d-a783-83b52658b73c', '12a616d23ff340e59c2dcf38a0585b0c', 'plain', 'active', '2', 5, '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '10.1.48', 'ebaa4f6c-77d2-47a3-9138-e36a733beace', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', NULL, NULL, NULL, NULL, 2, '2026-11-30 12:31:26.818106+00', '2026-11-30 12:31:26.923796+00', NULL, NULL, NULL, '10.1.48');
INSERT INTO public.instances VALUES ('73bfda41-92d8-4f60-88bf-2fc85e68e88e', '12a616d23ff340e59c2dcf38a0585b0c', 'source_upgrade', 'verify_upgrade', '2', 5, '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '10.4.34', '8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'a0ca8b8c-a759-455b-a0f5-970cc6894d74', NULL, NULL, NULL, 2, '2026-11-30 12:31:27.443677+00', '2026-11-30 12:31:27.635401+00', NULL, NULL, NULL, '10.1.48');
INSERT INTO public.instances VALUES ('a0ca8b8c-a759-455b-a0f5-970cc6894d74', '12a616d23ff340e59c2dcf38a0585b0c', 'source', 'verify_upgrade', '2', 5, '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '10.1.48', 'a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', NULL, NULL, NULL, NULL, 4, '2026-11-30 12:31:27.11755+00', '2026-11-30 12:31:27.635401+00', NULL, NULL, NULL, '10.1.48');
INSERT INTO public.instances VALUES ('32edb4b8-6b92-42dc-a550-e318058ae2b7', '12a616d23ff340e59c2dcf38a0585b0c', 'kept', 'active', '2', 5, '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '10.4.34', '97b407d9-924c-4a70-9591-32028cd1e9e5', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', NULL, NULL, NULL, NULL, 5, '2026-11-30 12:31:27.670716+00', '2026-11-30 12:31:30.328788+00', NULL, NULL, NULL, '10.1.48');
INSERT INTO public.instances VALUES ('c10554eb-3837-43bb-b460-40c32ce82922', '12a616d23ff340e59c2dcf38a0585b0c', 'held', 'upgrading', '2', 5, '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '10.1.48', '7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', NULL, NULL, NULL, NULL, 3, '2026-11-30 12:31:30.379711+00', '2026-11-30 12:31:30.970112+00', NULL, NULL, NULL, '10.1.48');






INSERT INTO public.maintenance VALUES (true, false, 30, '2026-11-30 12:31:26.437614+00');









INSERT INTO public.relays VALUES ('01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'a33c8ba8-9b76-4ca3-840d-c3f498d3f435', '127.98.0.2', 13306, true, false, 'mysql');
INSERT INTO public.relays VALUES ('01a22c70-5c99-77b1-864f-75c7edd4f557', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', '7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', '127.98.0.5', 13306, true, false, 'mysql');






INSERT INTO public.simulated_servers VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 'running', '10.1.48', false, true, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*445BA24FEBEE54545B92A9C76F61A2E35D19AE51", "databases": ["shop"]}]', NULL, 0, 100);
INSERT INTO public.simulated_servers VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 'running', '10.1.48', false, true, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*1D84A79322DF0E95EAB1E1EAFF8FE5917ECC93D8", "databases": ["shop"]}]', NULL, 0, 100);
INSERT INTO public.simulated_servers VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 'running', '10.4.34', true, false, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*1D84A79322DF0E95EAB1E1EAFF8FE5917ECC93D8", "databases": ["shop"]}]', 'a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 22, 100);
INSERT INTO public.simulated_servers VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 'running', '10.1.48', true, false, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*E1672A425C3E801B96F6447FBA0591CDBB55EDF7", "databases": ["shop"]}]', NULL, 0, 100);
INSERT INTO public.simulated_servers VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 'running', '10.4.34', true, false, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*E1672A425C3E801B96F6447FBA0591CDBB55EDF7", "databases": ["shop"]}]', '7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 22, 100);
INSERT INTO public.simulated_servers VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 'running', '10.4.34', false, true, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*9522D2D559DCD725041A7B691510113BE1DAD847", "databases": ["shop"]}]', NULL, 22, 100);
INSERT INTO public.simulated_servers VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 'stopped', '10.1.48', true, false, '[{"name": "shop", "collate": null, "character_set": null}]', '[{"host": "%", "name": "app", "verifier": "*9522D2D559DCD725041A7B691510113BE1DAD847", "databases": ["shop"]}]', NULL, 0, 100);



INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 1, '000000000001', '2026-11-30 12:31:26.943326+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 2, '000000000002', '2026-11-30 12:31:26.951136+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 3, '000000000003', '2026-11-30 12:31:26.957671+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 4, '000000000004', '2026-11-30 12:31:26.965084+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 5, '000000000005', '2026-11-30 12:31:26.972678+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 6, '000000000006', '2026-11-30 12:31:26.980223+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 7, '000000000007', '2026-11-30 12:31:26.986682+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 8, '000000000008', '2026-11-30 12:31:26.994029+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 9, '000000000009', '2026-11-30 12:31:27.000511+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 10, '000000000010', '2026-11-30 12:31:27.007784+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 11, '000000000011', '2026-11-30 12:31:27.015063+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 12, '000000000012', '2026-11-30 12:31:27.022568+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 13, '000000000013', '2026-11-30 12:31:27.029799+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 14, '000000000014', '2026-11-30 12:31:27.037164+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 15, '000000000015', '2026-11-30 12:31:27.043613+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 16, '000000000016', '2026-11-30 12:31:27.050941+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 17, '000000000017', '2026-11-30 12:31:27.058292+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 18, '000000000018', '2026-11-30 12:31:27.065831+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 19, '000000000019', '2026-11-30 12:31:27.073286+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 20, '000000000020', '2026-11-30 12:31:27.080717+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 21, '000000000021', '2026-11-30 12:31:27.088187+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 22, '000000000022', '2026-11-30 12:31:27.094791+00');
INSERT INTO public.simulated_writes VALUES ('ebaa4f6c-77d2-47a3-9138-e36a733beace', 23, '000000000023', '2026-11-30 12:31:27.102249+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 1, '000000000001', '2026-11-30 12:31:27.251836+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 2, '000000000002', '2026-11-30 12:31:27.259626+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 3, '000000000003', '2026-11-30 12:31:27.267201+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 4, '000000000004', '2026-11-30 12:31:27.273661+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 5, '000000000005', '2026-11-30 12:31:27.281094+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 6, '000000000006', '2026-11-30 12:31:27.287648+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 7, '000000000007', '2026-11-30 12:31:27.295096+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 8, '000000000008', '2026-11-30 12:31:27.302572+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 9, '000000000009', '2026-11-30 12:31:27.310105+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 10, '000000000010', '2026-11-30 12:31:27.31756+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 11, '000000000011', '2026-11-30 12:31:27.325053+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 12, '000000000012', '2026-11-30 12:31:27.338643+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 13, '000000000013', '2026-11-30 12:31:27.350942+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 14, '000000000014', '2026-11-30 12:31:27.358528+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 15, '000000000015', '2026-11-30 12:31:27.365883+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 16, '000000000016', '2026-11-30 12:31:27.373707+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 17, '000000000017', '2026-11-30 12:31:27.381268+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 18, '000000000018', '2026-11-30 12:31:27.389038+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 19, '000000000019', '2026-11-30 12:31:27.403749+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 20, '000000000020', '2026-11-30 12:31:27.41192+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 21, '000000000021', '2026-11-30 12:31:27.419027+00');
INSERT INTO public.simulated_writes VALUES ('a33c8ba8-9b76-4ca3-840d-c3f498d3f435', 22, '000000000022', '2026-11-30 12:31:27.427327+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 1, '000000000001', '2026-11-30 12:31:27.251836+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 2, '000000000002', '2026-11-30 12:31:27.259626+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 3, '000000000003', '2026-11-30 12:31:27.267201+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 4, '000000000004', '2026-11-30 12:31:27.273661+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 5, '000000000005', '2026-11-30 12:31:27.281094+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 6, '000000000006', '2026-11-30 12:31:27.287648+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 7, '000000000007', '2026-11-30 12:31:27.295096+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 8, '000000000008', '2026-11-30 12:31:27.302572+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 9, '000000000009', '2026-11-30 12:31:27.310105+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 10, '000000000010', '2026-11-30 12:31:27.31756+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 11, '000000000011', '2026-11-30 12:31:27.325053+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 12, '000000000012', '2026-11-30 12:31:27.338643+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 13, '000000000013', '2026-11-30 12:31:27.350942+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 14, '000000000014', '2026-11-30 12:31:27.358528+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 15, '000000000015', '2026-11-30 12:31:27.365883+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 16, '000000000016', '2026-11-30 12:31:27.373707+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 17, '000000000017', '2026-11-30 12:31:27.381268+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 18, '000000000018', '2026-11-30 12:31:27.389038+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 19, '000000000019', '2026-11-30 12:31:27.403749+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 20, '000000000020', '2026-11-30 12:31:27.41192+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 21, '000000000021', '2026-11-30 12:31:27.419027+00');
INSERT INTO public.simulated_writes VALUES ('8e62b94e-5c60-4de6-96fa-bb728dbaab0c', 22, '000000000022', '2026-11-30 12:31:27.427327+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 1, '000000000001', '2026-11-30 12:31:27.784093+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 2, '000000000002', '2026-11-30 12:31:27.791774+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 3, '000000000003', '2026-11-30 12:31:27.803033+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 4, '000000000004', '2026-11-30 12:31:27.813678+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 5, '000000000005', '2026-11-30 12:31:27.822399+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 6, '000000000006', '2026-11-30 12:31:27.836919+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 7, '000000000007', '2026-11-30 12:31:27.845726+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 8, '000000000008', '2026-11-30 12:31:27.85368+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 9, '000000000009', '2026-11-30 12:31:27.861623+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 10, '000000000010', '2026-11-30 12:31:27.869466+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 11, '000000000011', '2026-11-30 12:31:27.877384+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 12, '000000000012', '2026-11-30 12:31:27.88743+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 13, '000000000013', '2026-11-30 12:31:27.895063+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 14, '000000000014', '2026-11-30 12:31:27.901722+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 15, '000000000015', '2026-11-30 12:31:27.909338+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 16, '000000000016', '2026-11-30 12:31:27.917031+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 17, '000000000017', '2026-11-30 12:31:27.923713+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 18, '000000000018', '2026-11-30 12:31:27.931544+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 19, '000000000019', '2026-11-30 12:31:27.939514+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 20, '000000000020', '2026-11-30 12:31:27.947562+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 21, '000000000021', '2026-11-30 12:31:27.955352+00');
INSERT INTO public.simulated_writes VALUES ('c319448e-13a8-4cbb-b183-cb1f2c8a8e3f', 22, '000000000022', '2026-11-30 12:31:27.963227+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 1, '000000000001', '2026-11-30 12:31:27.784093+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 2, '000000000002', '2026-11-30 12:31:27.791774+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 3, '000000000003', '2026-11-30 12:31:27.803033+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 4, '000000000004', '2026-11-30 12:31:27.813678+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 5, '000000000005', '2026-11-30 12:31:27.822399+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 6, '000000000006', '2026-11-30 12:31:27.836919+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 7, '000000000007', '2026-11-30 12:31:27.845726+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 8, '000000000008', '2026-11-30 12:31:27.85368+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 9, '000000000009', '2026-11-30 12:31:27.861623+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 10, '000000000010', '2026-11-30 12:31:27.869466+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 11, '000000000011', '2026-11-30 12:31:27.877384+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 12, '000000000012', '2026-11-30 12:31:27.88743+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 13, '000000000013', '2026-11-30 12:31:27.895063+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 14, '000000000014', '2026-11-30 12:31:27.901722+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 15, '000000000015', '2026-11-30 12:31:27.909338+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 16, '000000000016', '2026-11-30 12:31:27.917031+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 17, '000000000017', '2026-11-30 12:31:27.923713+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 18, '000000000018', '2026-11-30 12:31:27.931544+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 19, '000000000019', '2026-11-30 12:31:27.939514+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 20, '000000000020', '2026-11-30 12:31:27.947562+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 21, '000000000021', '2026-11-30 12:31:27.955352+00');
INSERT INTO public.simulated_writes VALUES ('97b407d9-924c-4a70-9591-32028cd1e9e5', 22, '000000000022', '2026-11-30 12:31:27.963227+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 1, '000000000001', '2026-11-30 12:31:30.503359+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 2, '000000000002', '2026-11-30 12:31:30.631404+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 3, '000000000003', '2026-11-30 12:31:30.659825+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 4, '000000000004', '2026-11-30 12:31:30.668545+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 5, '000000000005', '2026-11-30 12:31:30.775202+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 6, '000000000006', '2026-11-30 12:31:30.806711+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 7, '000000000007', '2026-11-30 12:31:30.815141+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 8, '000000000008', '2026-11-30 12:31:30.823628+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 9, '000000000009', '2026-11-30 12:31:30.832041+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 10, '000000000010', '2026-11-30 12:31:30.863096+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 11, '000000000011', '2026-11-30 12:31:30.870057+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 12, '000000000012', '2026-11-30 12:31:30.878379+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 13, '000000000013', '2026-11-30 12:31:30.88636+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 14, '000000000014', '2026-11-30 12:31:30.894579+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 15, '000000000015', '2026-11-30 12:31:30.902793+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 16, '000000000016', '2026-11-30 12:31:30.910736+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 17, '000000000017', '2026-11-30 12:31:30.917957+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 18, '000000000018', '2026-11-30 12:31:30.925071+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 19, '000000000019', '2026-11-30 12:31:30.931924+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 20, '000000000020', '2026-11-30 12:31:30.94001+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 21, '000000000021', '2026-11-30 12:31:30.948017+00');
INSERT INTO public.simulated_writes VALUES ('7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e', 22, '000000000022', '2026-11-30 12:31:30.955213+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 1, '000000000001', '2026-11-30 12:31:30.503359+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 2, '000000000002', '2026-11-30 12:31:30.631404+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 3, '000000000003', '2026-11-30 12:31:30.659825+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 4, '000000000004', '2026-11-30 12:31:30.668545+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 5, '000000000005', '2026-11-30 12:31:30.775202+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 6, '000000000006', '2026-11-30 12:31:30.806711+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 7, '000000000007', '2026-11-30 12:31:30.815141+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 8, '000000000008', '2026-11-30 12:31:30.823628+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 9, '000000000009', '2026-11-30 12:31:30.832041+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 10, '000000000010', '2026-11-30 12:31:30.863096+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 11, '000000000011', '2026-11-30 12:31:30.870057+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 12, '000000000012', '2026-11-30 12:31:30.878379+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 13, '000000000013', '2026-11-30 12:31:30.88636+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 14, '000000000014', '2026-11-30 12:31:30.894579+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 15, '000000000015', '2026-11-30 12:31:30.902793+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 16, '000000000016', '2026-11-30 12:31:30.910736+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 17, '000000000017', '2026-11-30 12:31:30.917957+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 18, '000000000018', '2026-11-30 12:31:30.925071+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 19, '000000000019', '2026-11-30 12:31:30.931924+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 20, '000000000020', '2026-11-30 12:31:30.94001+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 21, '000000000021', '2026-11-30 12:31:30.948017+00');
INSERT INTO public.simulated_writes VALUES ('d8c03497-87cc-4785-9707-b5d8825f580e', 22, '000000000022', '2026-11-30 12:31:30.955213+00');






INSERT INTO public.task_instances VALUES ('01a22c70-4c5d-717a-8c4a-a586ecdfd343', '3c55d447-5777-4c9d-a783-83b52658b73c', 'subject', false, false);
INSERT INTO public.task_instances VALUES ('01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'a0ca8b8c-a759-455b-a0f5-970cc6894d74', 'subject', false, false);
INSERT INTO public.task_instances VALUES ('01a22c70-4ecc-72bc-abd2-86e18c1882f9', '73bfda41-92d8-4f60-88bf-2fc85e68e88e', 'candidate', true, false);
INSERT INTO public.task_instances VALUES ('01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'a0ca8b8c-a759-455b-a0f5-970cc6894d74', 'source', true, false);
INSERT INTO public.task_instances VALUES ('01a22c70-4fb5-7587-926d-e33084eca28d', '32edb4b8-6b92-42dc-a550-e318058ae2b7', 'subject', false, false);
INSERT INTO public.task_instances VALUES ('01a22c70-50ea-7475-ad75-3e835d2820cf', '32edb4b8-6b92-42dc-a550-e318058ae2b7', 'subject', false, false);
INSERT INTO public.task_instances VALUES ('01a22c70-5a4a-7051-8072-e03780e219f0', 'c10554eb-3837-43bb-b460-40c32ce82922', 'subject', false, false);
INSERT INTO public.task_instances VALUES ('01a22c70-5c99-77b1-864f-75c7edd4f557', 'c10554eb-3837-43bb-b460-40c32ce82922', 'subject', true, false);



INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (1, '01a22c70-4c5d-717a-8c4a-a586ecdfd343', 'forward', 'place', 1, 'done', NULL, NULL, '2026-11-30 12:31:26.842985+00', '2026-11-30 12:31:26.864678+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (2, '01a22c70-4c5d-717a-8c4a-a586ecdfd343', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:26.86835+00', '2026-11-30 12:31:26.878066+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (3, '01a22c70-4c5d-717a-8c4a-a586ecdfd343', 'forward', 'prepare', 1, 'done', '1 databases, 1 users', NULL, '2026-11-30 12:31:26.881868+00', '2026-11-30 12:31:26.892793+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (4, '01a22c70-4c5d-717a-8c4a-a586ecdfd343', 'forward', 'publish', 1, 'done', 'the server answered 10.1.48', NULL, '2026-11-30 12:31:26.896458+00', '2026-11-30 12:31:26.903336+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (5, '01a22c70-4c5d-717a-8c4a-a586ecdfd343', 'forward', 'open', 1, 'done', NULL, NULL, '2026-11-30 12:31:26.919374+00', '2026-11-30 12:31:26.923796+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (6, '01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'forward', 'place', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.143767+00', '2026-11-30 12:31:27.153665+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (7, '01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.161137+00', '2026-11-30 12:31:27.168775+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (8, '01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'forward', 'prepare', 1, 'done', '1 databases, 1 users', NULL, '2026-11-30 12:31:27.172832+00', '2026-11-30 12:31:27.179093+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (9, '01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'forward', 'publish', 1, 'done', 'the server answered 10.1.48', NULL, '2026-11-30 12:31:27.185669+00', '2026-11-30 12:31:27.197573+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (10, '01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'forward', 'open', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.213508+00', '2026-11-30 12:31:27.223439+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (11, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'examine', 1, 'done', 'the source answered 10.1.48', NULL, '2026-11-30 12:31:27.463425+00', '2026-11-30 12:31:27.470779+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (12, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'place', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.47427+00', '2026-11-30 12:31:27.488113+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (13, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.492283+00', '2026-11-30 12:31:27.5002+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (32, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:30.176254+00', '2026-11-30 12:31:30.193232+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (14, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'seed', 1, 'done', 'the copy stands for position "22"', 'simulated: 22 writes', '2026-11-30 12:31:27.508243+00', '2026-11-30 12:31:27.521494+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (15, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'convert', 1, 'done', 'not due', NULL, '2026-11-30 12:31:27.526837+00', '2026-11-30 12:31:27.537247+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (16, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'replicate', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.541781+00', '2026-11-30 12:31:27.558454+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (17, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'catch_up', 1, 'done', 'reached position "22"', NULL, '2026-11-30 12:31:27.562598+00', '2026-11-30 12:31:27.574633+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (18, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'verify', 1, 'done', '2 objects equal; 22 rows of 1 tables equal at position "22"; the server answered 10.4.34', NULL, '2026-11-30 12:31:27.583144+00', '2026-11-30 12:31:27.617111+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (19, '01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'forward', 'open', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.628685+00', '2026-11-30 12:31:27.635401+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (20, '01a22c70-4fb5-7587-926d-e33084eca28d', 'forward', 'place', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.683777+00', '2026-11-30 12:31:27.704222+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (21, '01a22c70-4fb5-7587-926d-e33084eca28d', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.707096+00', '2026-11-30 12:31:27.716601+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (22, '01a22c70-4fb5-7587-926d-e33084eca28d', 'forward', 'prepare', 1, 'done', '1 databases, 1 users', NULL, '2026-11-30 12:31:27.719515+00', '2026-11-30 12:31:27.725819+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (23, '01a22c70-4fb5-7587-926d-e33084eca28d', 'forward', 'publish', 1, 'done', 'the server answered 10.1.48', NULL, '2026-11-30 12:31:27.728399+00', '2026-11-30 12:31:27.734838+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (24, '01a22c70-4fb5-7587-926d-e33084eca28d', 'forward', 'open', 1, 'done', NULL, NULL, '2026-11-30 12:31:27.753563+00', '2026-11-30 12:31:27.758705+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (25, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'examine', 1, 'done', 'the old server answered 10.1.48; in_place: nothing stands in its way', NULL, '2026-11-30 12:31:27.992335+00', '2026-11-30 12:31:28.001485+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (26, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'ready', 1, 'done', 'simulated: an empty server', NULL, '2026-11-30 12:31:28.006129+00', '2026-11-30 12:31:28.022918+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (27, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'quiet', 1, 'done', 'calm after 2.0 s', NULL, '2026-11-30 12:31:28.026918+00', '2026-11-30 12:31:30.049021+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (28, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'hold', 1, 'done', NULL, NULL, '2026-11-30 12:31:30.05501+00', '2026-11-30 12:31:30.067688+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (29, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'fence', 1, 'done', '0 sessions ended', NULL, '2026-11-30 12:31:30.07278+00', '2026-11-30 12:31:30.111729+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (30, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'stop', 1, 'done', 'simulated: stopped', NULL, '2026-11-30 12:31:30.116583+00', '2026-11-30 12:31:30.141462+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (31, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'transform', 1, 'done', 'simulated: 22 writes', NULL, '2026-11-30 12:31:30.148391+00', '2026-11-30 12:31:30.170971+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (33, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'convert', 1, 'done', 'not due', NULL, '2026-11-30 12:31:30.198655+00', '2026-11-30 12:31:30.20504+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (34, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'forward', 'switch', 1, 'done', 'the server answered 10.4.34', NULL, '2026-11-30 12:31:30.212726+00', '2026-11-30 12:31:30.2297+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (35, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'finish', 'admit', 1, 'done', '10.4.34 takes writes', NULL, '2026-11-30 12:31:30.248287+00', '2026-11-30 12:31:30.263325+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (36, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'finish', 'reopen', 1, 'done', 'held for 236 ms', NULL, '2026-11-30 12:31:30.273925+00', '2026-11-30 12:31:30.29667+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (37, '01a22c70-50ea-7475-ad75-3e835d2820cf', 'finish', 'retire', 1, 'done', 'the old server is stopped, and kept for 24 h', NULL, '2026-11-30 12:31:30.304981+00', '2026-11-30 12:31:30.328788+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (38, '01a22c70-5a4a-7051-8072-e03780e219f0', 'forward', 'place', 1, 'done', NULL, NULL, '2026-11-30 12:31:30.400578+00', '2026-11-30 12:31:30.418575+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (39, '01a22c70-5a4a-7051-8072-e03780e219f0', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:30.42278+00', '2026-11-30 12:31:30.433672+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (40, '01a22c70-5a4a-7051-8072-e03780e219f0', 'forward', 'prepare', 1, 'done', '1 databases, 1 users', NULL, '2026-11-30 12:31:30.436648+00', '2026-11-30 12:31:30.445077+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (41, '01a22c70-5a4a-7051-8072-e03780e219f0', 'forward', 'publish', 1, 'done', 'the server answered 10.1.48', NULL, '2026-11-30 12:31:30.447851+00', '2026-11-30 12:31:30.45517+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (42, '01a22c70-5a4a-7051-8072-e03780e219f0', 'forward', 'open', 1, 'done', NULL, NULL, '2026-11-30 12:31:30.468334+00', '2026-11-30 12:31:30.472002+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (43, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'examine', 1, 'done', 'the old server answered 10.1.48; twin: nothing stands in its way', NULL, '2026-11-30 12:31:30.984718+00', '2026-11-30 12:31:30.993748+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (44, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'place', 1, 'done', NULL, NULL, '2026-11-30 12:31:30.998825+00', '2026-11-30 12:31:31.007861+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (45, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'start', 1, 'done', NULL, NULL, '2026-11-30 12:31:31.011384+00', '2026-11-30 12:31:31.017138+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (46, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'seed', 1, 'done', 'the copy stands for position "22"', 'simulated: 22 writes', '2026-11-30 12:31:31.020426+00', '2026-11-30 12:31:31.029377+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (47, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'convert', 1, 'done', 'not due', NULL, '2026-11-30 12:31:31.032922+00', '2026-11-30 12:31:31.037502+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (48, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'replicate', 1, 'done', NULL, NULL, '2026-11-30 12:31:31.041427+00', '2026-11-30 12:31:31.052435+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (49, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'catch_up', 1, 'done', 'reached position "22"', NULL, '2026-11-30 12:31:31.055778+00', '2026-11-30 12:31:31.067108+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (50, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'verify', 1, 'done', '2 objects equal; 22 rows of 1 tables equal at position "22"', NULL, '2026-11-30 12:31:31.07081+00', '2026-11-30 12:31:31.086369+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (51, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'quiet', 1, 'done', 'calm after 2.0 s', NULL, '2026-11-30 12:31:31.089817+00', '2026-11-30 12:31:33.130048+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (52, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'hold', 1, 'done', NULL, NULL, '2026-11-30 12:31:33.135572+00', '2026-11-30 12:31:33.145568+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (53, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'fence', 1, 'done', '0 sessions ended', NULL, '2026-11-30 12:31:33.14927+00', '2026-11-30 12:31:33.164236+00', 0);
INSERT INTO public.task_steps OVERRIDING SYSTEM VALUE VALUES (54, '01a22c70-5c99-77b1-864f-75c7edd4f557', 'forward', 'drain', 1, NULL, NULL, NULL, '2026-11-30 12:31:33.1679+00', NULL, 0);



INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-4c5d-717a-8c4a-a586ecdfd343', 'create', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'succeeded', NULL, NULL, '{"form": 1, "kind": "create", "instance": "3c55d447-5777-4c9d-a783-83b52658b73c", "databases": [{"name": "shop", "collate": null, "character_set": null}], "generation": "ebaa4f6c-77d2-47a3-9138-e36a733beace"}', NULL, 0, 0, NULL, NULL, '2026-11-30 12:31:26.923796+00', NULL, NULL, 1, '2026-11-30 12:31:26.818106+00', '2026-11-30 12:31:26.923796+00', '2026-11-30 12:31:26.923796+00', false, '{}', NULL, false, 'now', NULL, NULL, NULL, 1);
INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-4d8c-76f7-858f-97dc9c83ece2', 'create', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'succeeded', NULL, NULL, '{"form": 1, "kind": "create", "instance": "a0ca8b8c-a759-455b-a0f5-970cc6894d74", "databases": [{"name": "shop", "collate": null, "character_set": null}], "generation": "a33c8ba8-9b76-4ca3-840d-c3f498d3f435"}', NULL, 0, 0, NULL, NULL, '2026-11-30 12:31:27.223439+00', NULL, NULL, 1, '2026-11-30 12:31:27.11755+00', '2026-11-30 12:31:27.223439+00', '2026-11-30 12:31:27.223439+00', false, '{}', NULL, false, 'now', NULL, NULL, NULL, 2);
INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-4ecc-72bc-abd2-86e18c1882f9', 'upgrade', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'verifying', NULL, NULL, '{"to": "4abd4b07-9c44-45c2-a447-f0b3389ca57b", "form": 1, "from": "68148ed8-d52a-47ce-8808-91c5a90a8a3c", "kind": "upgrade", "source": "a0ca8b8c-a759-455b-a0f5-970cc6894d74", "to_title": "mariadb 10.4", "candidate": "73bfda41-92d8-4f60-88bf-2fc85e68e88e", "from_title": "mariadb 10.1", "source_generation": "a33c8ba8-9b76-4ca3-840d-c3f498d3f435", "candidate_generation": "8e62b94e-5c60-4de6-96fa-bb728dbaab0c"}', NULL, 0, 0, NULL, NULL, '2026-11-30 12:31:27.635401+00', NULL, NULL, 1, '2026-11-30 12:31:27.443677+00', '2026-11-30 12:31:27.635401+00', NULL, false, '{"not_compared": [], "rows_compared": 22, "tables_compared": 1, "objects_compared": 2}', NULL, false, 'now', NULL, NULL, NULL, 3);
INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-4fb5-7587-926d-e33084eca28d', 'create', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'succeeded', NULL, NULL, '{"form": 1, "kind": "create", "instance": "32edb4b8-6b92-42dc-a550-e318058ae2b7", "databases": [{"name": "shop", "collate": null, "character_set": null}], "generation": "c319448e-13a8-4cbb-b183-cb1f2c8a8e3f"}', NULL, 0, 0, NULL, NULL, '2026-11-30 12:31:27.758705+00', NULL, NULL, 1, '2026-11-30 12:31:27.670716+00', '2026-11-30 12:31:27.758705+00', '2026-11-30 12:31:27.758705+00', false, '{}', NULL, false, 'now', NULL, NULL, NULL, 4);
INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-5a4a-7051-8072-e03780e219f0', 'create', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'succeeded', NULL, NULL, '{"form": 1, "kind": "create", "instance": "c10554eb-3837-43bb-b460-40c32ce82922", "databases": [{"name": "shop", "collate": null, "character_set": null}], "generation": "7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e"}', NULL, 0, 0, NULL, NULL, '2026-11-30 12:31:30.472002+00', NULL, NULL, 1, '2026-11-30 12:31:30.379711+00', '2026-11-30 12:31:30.472002+00', '2026-11-30 12:31:30.472002+00', false, '{}', NULL, false, 'now', NULL, NULL, NULL, 6);
INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-5c99-77b1-864f-75c7edd4f557', 'upgrade_twin', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'running', 'forward', 'drain', '{"to": "4abd4b07-9c44-45c2-a447-f0b3389ca57b", "new": "d8c03497-87cc-4785-9707-b5d8825f580e", "old": "7b10e762-d2cd-4cc8-8c9c-1ee9c81d695e", "why": "twin: nothing stands in its way", "form": 3, "from": "68148ed8-d52a-47ce-8808-91c5a90a8a3c", "kind": "switch", "allowed": ["twin"], "instance": "c10554eb-3837-43bb-b460-40c32ce82922", "strategy": "twin", "to_title": "mariadb 10.4", "from_title": "mariadb 10.1", "keep_hours": 24, "keep_retired": false}', NULL, 1, 0, NULL, NULL, '2026-11-30 12:31:33.164236+00', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47/0', '2026-11-30 12:32:03.1679+00', 1, '2026-11-30 12:31:30.970112+00', '2026-11-30 12:31:33.164236+00', NULL, false, '{"findings": [], "strategy": "twin", "not_compared": [], "from_answered": "10.1.48", "rows_compared": 22, "sessions_ended": 0, "tables_compared": 1, "objects_compared": 2}', 36, false, 'now', NULL, NULL, NULL, 7);
INSERT INTO public.tasks OVERRIDING SYSTEM VALUE VALUES ('01a22c70-50ea-7475-ad75-3e835d2820cf', 'upgrade_in_place', '12a616d23ff340e59c2dcf38a0585b0c', 'b73d9b88-9463-4e4a-aa40-eecd0a613d47', 'succeeded', NULL, NULL, '{"to": "4abd4b07-9c44-45c2-a447-f0b3389ca57b", "new": "97b407d9-924c-4a70-9591-32028cd1e9e5", "old": "c319448e-13a8-4cbb-b183-cb1f2c8a8e3f", "why": "in_place: nothing stands in its way", "form": 3, "from": "68148ed8-d52a-47ce-8808-91c5a90a8a3c", "kind": "switch", "allowed": ["in_place"], "instance": "32edb4b8-6b92-42dc-a550-e318058ae2b7", "strategy": "in_place", "to_title": "mariadb 10.4", "from_title": "mariadb 10.1", "keep_hours": 24, "keep_retired": false}', NULL, 0, 0, NULL, NULL, '2026-11-30 12:31:30.328788+00', NULL, NULL, 1, '2026-11-30 12:31:27.978871+00', '2026-11-30 12:31:30.328788+00', '2026-11-30 12:31:30.328788+00', false, '{"gap_ms": 236, "findings": [], "strategy": "in_place", "checksums": {}, "kept_until": "2026-12-01T12:31:30Z", "fingerprint": "fe87ba53a542c40f218fd0aa3c3aa137e5a532c8f358881d50be67cabac52428", "to_answered": "10.4.34", "not_compared": [], "from_answered": "10.1.48", "sessions_ended": 0, "tables_compared": 0, "objects_compared": 2}', NULL, false, 'now', NULL, NULL, NULL, 5);



INSERT INTO public.upgrade_paths VALUES ('b16ee773-22c1-4fcc-882e-ec329e1d4165', 'c925ebfa-dd61-466a-b0bf-8ec34c3d6c0d', 'bec9588f-e94e-4cdf-bc7f-706d2782e948', '{replica,rolling}', true, 'documented for single instances and groups');
INSERT INTO public.upgrade_paths VALUES ('0fad90cc-7f9a-4523-b8a3-be1513f1232c', '86df47b8-929c-493d-96aa-da21e0eb05b0', 'bec9588f-e94e-4cdf-bc7f-706d2782e948', '{replica,in_place,rolling}', true, 'documented for single instances and groups');
INSERT INTO public.upgrade_paths VALUES ('dd35d9fb-6241-4ca6-b26c-29b7aebac0a4', '86df47b8-929c-493d-96aa-da21e0eb05b0', '7198d358-41c0-4737-a806-643ae07109a7', '{replica,rolling}', true, 'documented for single instances and groups');
INSERT INTO public.upgrade_paths VALUES ('c7a58af7-fd8a-45f5-95d0-a0190998bc2c', '0bd5c4a0-cc9f-4c10-a887-f915f3a0ff15', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '{replica,rolling}', true, 'documented for single instances and groups');
INSERT INTO public.upgrade_paths VALUES ('77db1201-3d54-4396-86e5-accd2f79e515', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '7198d358-41c0-4737-a806-643ae07109a7', '{replica,rolling}', true, 'documented for single instances and groups');
INSERT INTO public.upgrade_paths VALUES ('a52345bb-247a-4a9d-9a2c-e792a0398319', 'b1f80434-a8e0-4ae8-971b-b660b7fb8b3b', '7198d358-41c0-4737-a806-643ae07109a7', '{replica,rolling}', false, 'announced in a release note, on no page of upgrades');
INSERT INTO public.upgrade_paths VALUES ('3a27571e-a1a3-41db-94db-106f65545edf', '8eef140c-23ad-44fe-9912-d236e41a94a9', '86df47b8-929c-493d-96aa-da21e0eb05b0', '{in_place,rolling}', true, 'the vendors'' chain');
INSERT INTO public.upgrade_paths VALUES ('f2bdf912-0b23-4ab8-a0ab-7e18b089fdef', 'bec9588f-e94e-4cdf-bc7f-706d2782e948', 'd09f7b54-c5c2-415c-94fe-b5533c53cc96', '{in_place,rolling}', true, 'the vendors'' chain');
INSERT INTO public.upgrade_paths VALUES ('971d02b6-ed21-4cfc-91f2-bb14e7d898f1', '6700ca15-b54f-4b4b-b38d-7fef8cda0c93', '2d933033-670e-49ca-aa8e-715775d5e04b', '{in_place,rolling}', true, 'the vendors'' chain');
INSERT INTO public.upgrade_paths VALUES ('6c2004a9-b13b-4c1a-934a-d0cdbeec8589', '2d933033-670e-49ca-aa8e-715775d5e04b', '44182bd5-a010-4583-a030-2b3d91ac9a7c', '{in_place,rolling}', true, 'the vendors'' chain');
INSERT INTO public.upgrade_paths VALUES ('f7d6246b-70b4-47e2-ae98-77c614c9101c', '44182bd5-a010-4583-a030-2b3d91ac9a7c', '502895ee-496f-426d-b16e-c222e5343cfc', '{in_place,rolling}', true, 'the vendors'' chain');
INSERT INTO public.upgrade_paths VALUES ('4923bfa9-9fc1-41f5-a8ca-890f2825f76f', '502895ee-496f-426d-b16e-c222e5343cfc', 'd7573f0b-fd94-4197-988f-eff8919f13df', '{in_place,rolling}', true, 'the vendors'' chain');
INSERT INTO public.upgrade_paths VALUES ('fdecb488-29c3-4b02-9f61-5df4559ab6d1', '985659a9-c22c-4ef5-9c10-1305c08ebfe8', 'c925ebfa-dd61-466a-b0bf-8ec34c3d6c0d', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('d472ce83-c658-4018-aa88-d7b26e604835', 'beee797e-d55f-4f46-bfb4-aff8be08686a', '8eef140c-23ad-44fe-9912-d236e41a94a9', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('03859724-ff1a-4a8a-bdac-512371c56440', 'a6a60fac-73ec-411e-a012-387f69637efc', '86df47b8-929c-493d-96aa-da21e0eb05b0', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('02ca9c5f-055f-4a98-8976-21fee8bab883', '579c1404-7c7a-4872-88d1-a3d2b7829618', 'bec9588f-e94e-4cdf-bc7f-706d2782e948', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('af6cd4a8-65f1-4d4c-9fe9-b1ff24da82c4', 'ad528f58-19e4-4f57-b52e-25f748585b52', 'd09f7b54-c5c2-415c-94fe-b5533c53cc96', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('b1b4d3d4-3822-47a0-a09e-9487c9b87936', 'ac4b3d8a-4488-4d31-85be-a7a82912d14e', '0643e528-af7f-4ba8-8f88-451e33e01211', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('3bf54f6f-a3a9-41c1-b4df-960eb6e80563', 'db7685da-f539-4b76-9d9f-1d2b55021269', '0bd5c4a0-cc9f-4c10-a887-f915f3a0ff15', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('d114a271-2bb0-47cb-9032-d4146aafe197', '12797ea0-94cb-4b03-866f-8663d7ef3403', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('dc861483-aa40-4871-917d-66ac31ae056c', 'cc6ad32f-983f-4fec-9c44-e50cedd9fba9', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('ec907ccd-50d9-4ec1-8fac-4bc2a7147d15', '42088d8e-6beb-4e29-8d9c-026fcaa0c99e', 'b1f80434-a8e0-4ae8-971b-b660b7fb8b3b', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('48f1dd63-9398-432e-ae03-a52b1d7bbdef', '7539f66e-4198-42b9-84bc-2685ddbae2db', '7198d358-41c0-4737-a806-643ae07109a7', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('7a932323-f3a6-4a1b-879c-a8bdba5dfdcb', 'e367e813-b4c5-41f8-997e-5aab3ed4d1d9', '6700ca15-b54f-4b4b-b38d-7fef8cda0c93', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('34e4fdae-117a-4044-8469-1cdd7cccec1c', 'c276696b-7daf-4a11-b528-981117e7ccc4', '2d933033-670e-49ca-aa8e-715775d5e04b', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('2a0e6952-1b2a-47b1-b57c-5cdbb2c80b66', 'ea092568-f848-4099-a8a9-2d86657cb6c1', '44182bd5-a010-4583-a030-2b3d91ac9a7c', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('b24ab3f6-531d-49aa-a9e1-7b711a0ed50c', 'c651dcda-8170-4419-81df-4dce3cbf1ab6', '502895ee-496f-426d-b16e-c222e5343cfc', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('56ba7d6e-bd92-4e1c-a6b8-d667de8416a3', 'c39d6dda-0626-419d-a8f3-c21c86251459', 'd7573f0b-fd94-4197-988f-eff8919f13df', '{in_place,twin,rolling}', true, 'to the newer build of the same version');
INSERT INTO public.upgrade_paths VALUES ('d3ee1372-2925-4ded-bf36-a466c8e720b9', '68148ed8-d52a-47ce-8808-91c5a90a8a3c', '4abd4b07-9c44-45c2-a447-f0b3389ca57b', '{twin}', true, 'documented for single instances and groups');









SELECT pg_catalog.setval('public.addresses', 5, true);



SELECT pg_catalog.setval('public.events_id_seq', 7, true);



SELECT pg_catalog.setval('public.inspections_number_seq', 1, false);



SELECT pg_catalog.setval('public.server_ids', 1006, true);



SELECT pg_catalog.setval('public.task_steps_id_seq', 54, true);



SELECT pg_catalog.setval('public.tasks_number_seq', 7, true);



ALTER TABLE ONLY public.__diesel_schema_migrations
    ADD CONSTRAINT __diesel_schema_migrations_pkey PRIMARY KEY (version);



ALTER TABLE ONLY public.access_keys
    ADD CONSTRAINT access_keys_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_instance_id_key UNIQUE (instance_id);



ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (host_id, name);



ALTER TABLE ONLY public.authorities
    ADD CONSTRAINT authorities_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.catalogue
    ADD CONSTRAINT catalogue_pkey PRIMARY KEY (only_one);



ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_pkey PRIMARY KEY (instance_id);



ALTER TABLE ONLY public.datastore_versions
    ADD CONSTRAINT datastore_versions_datastore_id_name_key UNIQUE (datastore_id, name);



ALTER TABLE ONLY public.datastore_versions
    ADD CONSTRAINT datastore_versions_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.datastores
    ADD CONSTRAINT datastores_name_key UNIQUE (name);



ALTER TABLE ONLY public.datastores
    ADD CONSTRAINT datastores_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_host_id_address_key UNIQUE (host_id, address);



ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_pkey PRIMARY KEY (instance_id);



ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.flavors
    ADD CONSTRAINT flavors_ordinal_key UNIQUE (ordinal);



ALTER TABLE ONLY public.flavors
    ADD CONSTRAINT flavors_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_server_id_key UNIQUE (server_id);



ALTER TABLE ONLY public.groups
    ADD CONSTRAINT groups_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (instance_id);



ALTER TABLE ONLY public.host_versions
    ADD CONSTRAINT host_versions_pkey PRIMARY KEY (host_id, datastore, series);



ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project_id, call, key);



ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT inspections_number_key UNIQUE (number);



ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT inspections_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT inspections_question_id_key UNIQUE (question_id);



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.looks
    ADD CONSTRAINT looks_instance_id_key UNIQUE (instance_id);



ALTER TABLE ONLY public.looks
    ADD CONSTRAINT looks_pkey PRIMARY KEY (question_id);



ALTER TABLE ONLY public.maintenance
    ADD CONSTRAINT maintenance_pkey PRIMARY KEY (only_one);



ALTER TABLE ONLY public.questions
    ADD CONSTRAINT questions_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.quotas
    ADD CONSTRAINT quotas_pkey PRIMARY KEY (project_id, resource);



ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_host_id_address_port_key UNIQUE (host_id, address, port);



ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_pkey PRIMARY KEY (task_id);



ALTER TABLE ONLY public.signature_nonces
    ADD CONSTRAINT signature_nonces_pkey PRIMARY KEY (access_key, nonce);



ALTER TABLE ONLY public.simulated_servers
    ADD CONSTRAINT simulated_servers_pkey PRIMARY KEY (generation_id);



ALTER TABLE ONLY public.simulated_writes
    ADD CONSTRAINT simulated_writes_pkey PRIMARY KEY (generation_id, "position");



ALTER TABLE ONLY public.simulations
    ADD CONSTRAINT simulations_pkey PRIMARY KEY (instance_id, step);



ALTER TABLE ONLY public.task_instances
    ADD CONSTRAINT task_instances_pkey PRIMARY KEY (task_id, instance_id);



ALTER TABLE ONLY public.task_steps
    ADD CONSTRAINT task_steps_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.upgrade_paths
    ADD CONSTRAINT upgrade_paths_from_version_id_to_version_id_key UNIQUE (from_version_id, to_version_id);



ALTER TABLE ONLY public.upgrade_paths
    ADD CONSTRAINT upgrade_paths_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.upgrade_policies
    ADD CONSTRAINT upgrade_policies_pkey PRIMARY KEY (instance_id);



CREATE INDEX events_of_task ON public.events USING btree (task_id, id);



CREATE INDEX groups_of_project ON public.groups USING btree (project_id, id) WHERE (deleted_at IS NULL);



CREATE INDEX inspections_of_an_instance ON public.inspections USING btree (instance_id, checked_at DESC);



CREATE UNIQUE INDEX inspections_that_run ON public.inspections USING btree (instance_id, target, COALESCE(strategy, ''::text)) WHERE (question_id IS NOT NULL);



CREATE INDEX instances_of_project ON public.instances USING btree (project_id, id) WHERE (deleted_at IS NULL);



CREATE INDEX keys_to_clear ON public.idempotency_keys USING btree (expires_at);



CREATE INDEX looks_of_a_host ON public.looks USING btree (host_id, taken_until);



CREATE INDEX members_of_group ON public.instances USING btree (group_id) WHERE (group_id IS NOT NULL);



CREATE INDEX nonces_to_clear ON public.signature_nonces USING btree (expires_at);



CREATE UNIQUE INDEX one_authority ON public.authorities USING btree ((true));



CREATE UNIQUE INDEX one_built_in_key_per_account ON public.access_keys USING btree (user_id, project_id) WHERE built_in;



CREATE UNIQUE INDEX one_candidate_generation ON public.generations USING btree (instance_id) WHERE (role = 'candidate'::text);



CREATE UNIQUE INDEX one_live_task_per_instance ON public.task_instances USING btree (instance_id) WHERE live;



CREATE UNIQUE INDEX one_planned_task_per_instance ON public.task_instances USING btree (instance_id) WHERE planned;



CREATE UNIQUE INDEX one_primary_per_group ON public.instances USING btree (group_id) WHERE ((group_id IS NOT NULL) AND (replica_of IS NULL) AND (deleted_at IS NULL));



CREATE UNIQUE INDEX one_retired_generation ON public.generations USING btree (instance_id) WHERE (role = 'retired'::text);



CREATE UNIQUE INDEX one_serving_generation ON public.generations USING btree (instance_id) WHERE (role = 'serving'::text);



CREATE INDEX questions_open ON public.questions USING btree (host_id, asked_at) WHERE (answered_at IS NULL);



CREATE INDEX replicas_of_instance ON public.instances USING btree (replica_of) WHERE (deleted_at IS NULL);



CREATE INDEX steps_of_task ON public.task_steps USING btree (task_id, id);



CREATE UNIQUE INDEX tasks_by_number ON public.tasks USING btree (number);



CREATE INDEX tasks_not_ended ON public.tasks USING btree (kind, state) WHERE (ended_at IS NULL);



CREATE INDEX tasks_of_instance ON public.task_instances USING btree (instance_id);



CREATE INDEX tasks_to_claim ON public.tasks USING btree (host_id, not_before) WHERE (state = ANY (ARRAY['scheduled'::text, 'running'::text]));



CREATE UNIQUE INDEX window_of_instance ON public.windows USING btree (instance_id) WHERE (instance_id IS NOT NULL);



CREATE UNIQUE INDEX window_of_project ON public.windows USING btree (project_id) WHERE (instance_id IS NULL);



CREATE TRIGGER measure_task BEFORE INSERT ON public.tasks FOR EACH ROW WHEN ((new.kind ~~ 'upgrade%'::text)) EXECUTE FUNCTION public.measure_task();



CREATE TRIGGER revise_catalogue AFTER INSERT OR DELETE OR UPDATE ON public.datastore_versions FOR EACH STATEMENT EXECUTE FUNCTION public.revise_catalogue();



CREATE TRIGGER revise_catalogue AFTER INSERT OR DELETE OR UPDATE ON public.datastores FOR EACH STATEMENT EXECUTE FUNCTION public.revise_catalogue();



CREATE TRIGGER revise_catalogue AFTER INSERT OR DELETE OR UPDATE ON public.flavors FOR EACH STATEMENT EXECUTE FUNCTION public.revise_catalogue();



CREATE TRIGGER revise_catalogue AFTER INSERT OR DELETE OR UPDATE ON public.host_versions FOR EACH STATEMENT EXECUTE FUNCTION public.revise_catalogue();



CREATE TRIGGER revise_catalogue AFTER INSERT OR DELETE OR UPDATE ON public.upgrade_paths FOR EACH STATEMENT EXECUTE FUNCTION public.revise_catalogue();



CREATE TRIGGER wake_askers AFTER UPDATE OF answered_at ON public.questions FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_answers');



CREATE TRIGGER wake_endpoint AFTER INSERT OR DELETE OR UPDATE OF generation_id, epoch ON public.endpoints FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_routes');



CREATE TRIGGER wake_endpoint AFTER INSERT OR DELETE ON public.relays FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_routes');



CREATE TRIGGER wake_steps AFTER UPDATE OF applied_epoch ON public.endpoints FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_applied');



CREATE TRIGGER wake_steps AFTER UPDATE OF listening ON public.relays FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_applied');



CREATE TRIGGER wake_workers AFTER INSERT ON public.questions FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_questions');



CREATE TRIGGER wake_workers AFTER INSERT OR UPDATE OF state, not_before ON public.tasks FOR EACH STATEMENT EXECUTE FUNCTION public.wake('coffer_tasks');



ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_authority_id_fkey FOREIGN KEY (authority_id) REFERENCES public.authorities(id);



ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.datastore_versions
    ADD CONSTRAINT datastore_versions_datastore_id_fkey FOREIGN KEY (datastore_id) REFERENCES public.datastores(id);



ALTER TABLE ONLY public.datastores
    ADD CONSTRAINT datastores_default_version_id_fkey FOREIGN KEY (default_version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_generation_id_fkey FOREIGN KEY (generation_id) REFERENCES public.generations(id);



ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);



ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.groups
    ADD CONSTRAINT groups_flavor_id_fkey FOREIGN KEY (flavor_id) REFERENCES public.flavors(id);



ALTER TABLE ONLY public.groups
    ADD CONSTRAINT groups_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.groups
    ADD CONSTRAINT groups_wanted_version_id_fkey FOREIGN KEY (wanted_version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.endpoints(instance_id) ON DELETE CASCADE;



ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);



ALTER TABLE ONLY public.host_versions
    ADD CONSTRAINT host_versions_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id) ON DELETE CASCADE;



ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) DEFERRABLE INITIALLY DEFERRED;



ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT inspections_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id) ON DELETE CASCADE;



ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT inspections_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE SET NULL;



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_flavor_id_fkey FOREIGN KEY (flavor_id) REFERENCES public.flavors(id);



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_group_id_fkey FOREIGN KEY (group_id) REFERENCES public.groups(id);



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_replica_of_fkey FOREIGN KEY (replica_of) REFERENCES public.instances(id);



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_running_version_id_fkey FOREIGN KEY (running_version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_serving_generation_id_fkey FOREIGN KEY (serving_generation_id) REFERENCES public.generations(id) DEFERRABLE INITIALLY DEFERRED;



ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_wanted_version_id_fkey FOREIGN KEY (wanted_version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.looks
    ADD CONSTRAINT looks_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.questions
    ADD CONSTRAINT questions_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.questions
    ADD CONSTRAINT questions_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_generation_id_fkey FOREIGN KEY (generation_id) REFERENCES public.generations(id);



ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);



ALTER TABLE ONLY public.signature_nonces
    ADD CONSTRAINT signature_nonces_access_key_fkey FOREIGN KEY (access_key) REFERENCES public.access_keys(id) ON DELETE CASCADE;



ALTER TABLE ONLY public.simulated_servers
    ADD CONSTRAINT simulated_servers_follows_fkey FOREIGN KEY (follows) REFERENCES public.generations(id);



ALTER TABLE ONLY public.simulated_servers
    ADD CONSTRAINT simulated_servers_generation_id_fkey FOREIGN KEY (generation_id) REFERENCES public.generations(id);



ALTER TABLE ONLY public.simulated_writes
    ADD CONSTRAINT simulated_writes_generation_id_fkey FOREIGN KEY (generation_id) REFERENCES public.simulated_servers(generation_id) ON DELETE CASCADE;



ALTER TABLE ONLY public.simulations
    ADD CONSTRAINT simulations_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id) ON DELETE CASCADE;



ALTER TABLE ONLY public.task_instances
    ADD CONSTRAINT task_instances_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.task_instances
    ADD CONSTRAINT task_instances_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);



ALTER TABLE ONLY public.task_steps
    ADD CONSTRAINT task_steps_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);



ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);



ALTER TABLE ONLY public.upgrade_paths
    ADD CONSTRAINT upgrade_paths_from_version_id_fkey FOREIGN KEY (from_version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.upgrade_paths
    ADD CONSTRAINT upgrade_paths_to_version_id_fkey FOREIGN KEY (to_version_id) REFERENCES public.datastore_versions(id);



ALTER TABLE ONLY public.upgrade_policies
    ADD CONSTRAINT upgrade_policies_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



ALTER TABLE ONLY public.windows
    ADD CONSTRAINT windows_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id);



GRANT SELECT ON TABLE public.endpoints TO coffer_endpoint;



GRANT UPDATE(applied_epoch) ON TABLE public.endpoints TO coffer_endpoint;



GRANT SELECT ON TABLE public.holds TO coffer_endpoint;



GRANT SELECT ON TABLE public.relays TO coffer_endpoint;



GRANT UPDATE(listening) ON TABLE public.relays TO coffer_endpoint;




