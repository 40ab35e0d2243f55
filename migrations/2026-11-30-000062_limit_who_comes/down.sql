alter table endpoints drop column allowed_cidrs;
