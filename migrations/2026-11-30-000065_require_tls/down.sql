alter table endpoints drop column tls_only;
