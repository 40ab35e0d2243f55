alter table simulated_servers drop column parameters;
alter table generations drop column needs_restart;
alter table instances drop column configuration_id;
drop table configurations;
drop table scratches;
drop table parameter_lists;
