drop index tasks_not_ended;
drop sequence addresses;
drop trigger revise_catalogue on host_versions;
drop trigger revise_catalogue on flavors;
drop trigger revise_catalogue on upgrade_paths;
drop trigger revise_catalogue on datastore_versions;
drop trigger revise_catalogue on datastores;
drop function revise_catalogue();
drop table catalogue;
