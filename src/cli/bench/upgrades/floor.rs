//! The floor: the least that an upgrade in place can do, by the engine's own commands, on the data of the upgrade that
//! was just measured (the old server's files, which the service keeps).
//!
//! | | before the clock | while it runs |
//! |---|---|---|
//! | MariaDB | the old server runs | `SHUTDOWN`, copy of the files, start of the new one, `mariadb-upgrade`, a write |
//! | PostgreSQL | the old server runs, a copy of its files and an empty new cluster are ready | stop, `pg_upgrade --link` of the copy, start of the new one, a write |
//!
//! The settings that cost time are the service's: every commit is on disk, the redo log is as large.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use mysql_async::prelude::Queryable as _;
use tokio::process::{Child, Command};

use super::engine::Engine;

/// How long a server may take to come up, or to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The account of the servers, which is the superuser of PostgreSQL's data.
const USER: &str = "coffer";

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// From the stop to the first write.
    pub gap: Duration,
    /// The same and what was made ready before.
    pub whole: Duration,
}

/// Measures it on a copy of `data`, in `scratch`, which is removed.
///
/// # Errors
/// A command that failed; the text has what it said.
pub async fn measure(engine: Engine, engines: &Path, data: &Path, scratch: &Path) -> anyhow::Result<Floor> {
    let bare = Bare::new(engine, engines, data, scratch)?;
    let measured = match engine {
        Engine::Mariadb => mariadb(&bare).await,
        Engine::Postgresql => postgresql(&bare).await,
    };
    std::fs::remove_dir_all(scratch).with_context(|| format!("remove {}", scratch.display()))?;
    measured
}

/// Commands in a folder of their own, as the account that the data belongs to.
struct Bare {
    folder: PathBuf,
    old: PathBuf,
    new: PathBuf,
    data: PathBuf,
    /// User and group, where we are another.
    account: Option<(u32, u32)>,
}

impl Bare {
    fn new(engine: Engine, engines: &Path, data: &Path, folder: &Path) -> anyhow::Result<Self> {
        let owner = std::fs::metadata(data).with_context(|| format!("look at {}", data.display()))?;
        std::fs::create_dir(folder).with_context(|| format!("make {}", folder.display()))?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        let is_us = owner.uid() == rustix::process::geteuid().as_raw();
        if !is_us {
            std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid()))?;
        }
        let (from, to) = engine.versions();
        Ok(Self {
            folder: folder.to_owned(),
            old: engine.root(engines, from),
            new: engine.root(engines, to),
            data: data.to_owned(),
            account: (!is_us).then_some((owner.uid(), owner.gid())),
        })
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.folder).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    async fn run(&self, mut command: Command) -> anyhow::Result<()> {
        let output = command.output().await.with_context(|| format!("run {command:?}"))?;
        ensure!(
            output.status.success(),
            "{command:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    async fn copy(&self, from: &Path, to: &str) -> anyhow::Result<PathBuf> {
        let to = self.folder.join(to);
        let mut copy = self.command("/bin/cp");
        copy.args(["--archive", "--reflink=auto", "--"]).arg(from).arg(&to);
        self.run(copy).await?;
        Ok(to)
    }

    /// Starts a server, whose log is a file of ours.
    fn start(&self, mut command: Command) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("start {command:?}"))
    }

    /// Tries until a server answers.
    async fn until<T>(
        &self,
        server: &mut Child,
        mut try_it: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(done) = try_it().await {
                return Ok(done);
            }
            if server.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!(
                    "a server does not come up: {}",
                    log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn until_it_ends(server: &mut Child) -> anyhow::Result<()> {
    let ended = tokio::time::timeout(PATIENCE, server.wait()).await.context("a server does not end")??;
    ensure!(ended.success(), "a server ended with {ended}");
    Ok(())
}

fn interrupt(server: &Child) -> anyhow::Result<()> {
    let pid = server.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.context("a server has ended")?, rustix::process::Signal::INT)
        .context("stop a server")
}

async fn mariadb(bare: &Bare) -> anyhow::Result<Floor> {
    let old = bare.copy(&bare.data, "old").await?;
    let account = format!(
        "CREATE OR REPLACE USER {USER}_floor@localhost;\nGRANT ALL ON *.* TO {USER}_floor@localhost WITH GRANT OPTION;\n"
    );
    std::fs::write(bare.folder.join("init.sql"), account)?;
    std::fs::create_dir(bare.folder.join("tmp"))?;
    if let Some((user, group)) = bare.account {
        for path in ["init.sql", "tmp"] {
            std::os::unix::fs::chown(bare.folder.join(path), Some(user), Some(group))?;
        }
    }
    let socket = bare.folder.join("sock");
    let server = |root: &Path, data: &Path, more: &[&str]| {
        let mut command = bare.command(root.join("bin/mariadbd"));
        command
            .arg("--no-defaults")
            .arg(format!("--basedir={}", root.join("rootfs/usr").display()))
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--tmpdir={}", bare.folder.join("tmp").display()))
            .args([
                "--skip-networking",
                "--log-bin=binlog",
                "--log-bin-index=binlog.index",
                "--sync-binlog=1",
            ])
            .args([
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-log-file-size=48M",
                "--performance-schema=0",
            ])
            .args(["--innodb-buffer-pool-size=204M", "--server-id=1", "--binlog-format=ROW"])
            .args(more);
        bare.start(command)
    };
    let connect = async || {
        let opts = mysql_async::OptsBuilder::default()
            .socket(Some(socket.to_string_lossy().into_owned()))
            .user(Some(format!("{USER}_floor")));
        mysql_async::Conn::new(opts).await.ok()
    };
    let init = format!("--init-file={}", bare.folder.join("init.sql").display());
    let mut running = server(&bare.old, &old, &[&init])?;
    let mut client = bare.until(&mut running, connect).await?;
    client.query_drop("insert into shop.apart values ('before')").await?;

    let began = Instant::now();
    client.query_drop("shutdown").await?;
    until_it_ends(&mut running).await?;
    let new = bare.copy(&old, "new").await?;
    let mut running = server(&bare.new, &new, &[])?;
    let client = bare.until(&mut running, connect).await?;
    let mut upgrade = bare.command(bare.new.join("bin/mariadb-upgrade"));
    upgrade.args(["--no-defaults", "--silent"]).arg(format!("--socket={}", socket.display()));
    upgrade.arg(format!("--user={USER}_floor"));
    bare.run(upgrade).await?;
    drop(client);
    let mut client = bare.until(&mut running, connect).await?;
    client.query_drop("insert into shop.apart values ('after')").await?;
    let gap = began.elapsed();
    client.query_drop("shutdown").await?;
    until_it_ends(&mut running).await?;
    Ok(Floor { gap, whole: gap })
}

async fn postgresql(bare: &Bare) -> anyhow::Result<Floor> {
    let old = bare.copy(&bare.data, "old").await?;
    std::fs::write(old.join("pg_hba.conf"), "local all all trust\n")?;
    let server = |root: &Path, data: &Path| {
        let mut command = bare.command(root.join("bin/postgres"));
        command.arg("-D").arg(data).args(["-c", "listen_addresses="]);
        command.arg("-c").arg(format!("unix_socket_directories={}", bare.folder.display()));
        bare.start(command)
    };
    let connect = async || {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&bare.folder).user(USER).dbname("shop");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    };
    let write = "insert into transfers values ('floor', 0, 0, 0, 0)";

    let preparing = Instant::now();
    let copy = bare.copy(&bare.data, "copy").await?;
    std::fs::write(copy.join("pg_hba.conf"), "local all all trust\n")?;
    readable(bare, &server, &copy, &connect).await?;
    let new = bare.folder.join("new");
    let mut init = bare.command(bare.new.join("bin/initdb"));
    init.arg("--pgdata").arg(&new).args(["--username", USER, "--auth=trust", "--encoding=UTF8"]);
    init.args(["--locale=C.UTF-8", "--no-instructions"]);
    let told = bare.command(bare.old.join("bin/pg_controldata")).arg(&copy).output().await?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let sums = told.lines().find(|line| line.starts_with("Data page checksum version")).unwrap_or_default();
    if !sums.trim_end().ends_with(" 0") {
        init.arg("--data-checksums");
    }
    bare.run(init).await?;
    let prepared = preparing.elapsed();

    let mut running = server(&bare.old, &old)?;
    let client = bare.until(&mut running, connect).await?;
    client.batch_execute(write).await?;
    let began = Instant::now();
    interrupt(&running)?;
    until_it_ends(&mut running).await?;
    let mut upgrade = bare.command(bare.new.join("bin/pg_upgrade"));
    upgrade.arg("--link").args(["--username", USER]);
    for (option, path) in [
        ("--old-bindir", bare.old.join("bin")),
        ("--new-bindir", bare.new.join("bin")),
        ("--old-datadir", copy),
        ("--new-datadir", new.clone()),
        ("--socketdir", bare.folder.clone()),
    ] {
        upgrade.arg(option).arg(path);
    }
    bare.run(upgrade).await?;
    let mut running = server(&bare.new, &new)?;
    let client = bare.until(&mut running, connect).await?;
    client.batch_execute(write).await?;
    let gap = began.elapsed();
    interrupt(&running)?;
    until_it_ends(&mut running).await?;
    Ok(Floor { gap, whole: prepared + gap })
}

/// Takes an option out of the copy's columns that older builds of the new version end at, as the service does, too.
async fn readable(
    bare: &Bare,
    server: &impl Fn(&Path, &Path) -> anyhow::Result<Child>,
    copy: &Path,
    connect: &impl AsyncFn() -> Option<tokio_postgres::Client>,
) -> anyhow::Result<()> {
    let mut running = server(&bare.old, copy)?;
    let client = bare.until(&mut running, async || connect().await).await?;
    let rows = client.query("select datname from pg_database where datallowconn", &[]).await?;
    for row in rows {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&bare.folder).user(USER).dbname(row.get::<_, &str>(0));
        let (inside, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        inside
            .batch_execute(
                "update pg_attribute set attoptions = nullif(array(select o from unnest(attoptions) o \
                 where o !~ '^pg_attver='), '{}') \
                 where exists (select 1 from unnest(attoptions) o where o ~ '^pg_attver=')",
            )
            .await?;
    }
    drop(client);
    interrupt(&running)?;
    until_it_ends(&mut running).await
}
