alter table certificates drop column renewed_at;
drop index one_authority_is_announced;
drop index one_authority_signs;
create unique index one_authority on authorities ((true));
alter table authorities drop column state;
