-- Whether what a server's volume takes is below its size, near it or beyond it, and since when it is not below; and whether
-- an instance's address turns clients away for that.
alter table generations
    add column volume_state text not null default 'room' check (volume_state in ('room', 'full', 'over')),
    add column volume_state_since timestamptz not null default now();
alter table endpoints add column full_volume boolean not null default false;
