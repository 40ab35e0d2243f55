alter table relays drop column protocol;
alter table endpoints drop column protocol;
