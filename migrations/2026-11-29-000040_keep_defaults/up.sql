-- The version whose defaults an instance's applications know: the one that it was made with, also after upgrades. What
-- an engine's later version reads otherwise keeps its old value by the server's own configuration.
alter table instances add column defaults_of text;
update instances set defaults_of = running_version_number;
