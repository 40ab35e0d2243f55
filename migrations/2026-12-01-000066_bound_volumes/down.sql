alter table endpoints drop column full_volume;
alter table generations drop column volume_state_since, drop column volume_state;
