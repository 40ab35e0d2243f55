alter table tasks drop column number;
