drop table signature_nonces;
drop table access_keys;
