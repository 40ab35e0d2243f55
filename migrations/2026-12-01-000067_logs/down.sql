drop table log_parts;
drop table logs;
