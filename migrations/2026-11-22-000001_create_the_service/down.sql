drop table questions, relays, events, task_steps, task_instances, tasks, endpoints cascade;
drop table generations, instances, flavors, upgrade_paths, datastore_versions, datastores, host_versions, hosts cascade;
drop sequence server_ids;
drop function wake();
