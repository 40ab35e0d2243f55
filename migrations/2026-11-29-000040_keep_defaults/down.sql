alter table instances drop column defaults_of;
