//! `coffer upgrade`, as a script runs it: plain lines, and an exit status that says how it ended.

use std::process::Stdio;

use coffer::domain::upgrade::Strategy;
use serde_json::json;

use crate::harness::delete;
use crate::harness::roles::Roles;
use crate::upgrade::{only, simulated};

/// Its exit status, what it printed, and what it complained of.
async fn coffer(variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_coffer"));
    for name in ["OS_CLOUD", "OS_CLIENT_CONFIG_FILE", "OS_AUTH_URL", "OS_PASSWORD"] {
        command.env_remove(name);
    }
    let output = command
        .arg("upgrade")
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_hears_how_it_ended() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let file = roles.folder().join("state/clouds.yaml").to_str().unwrap().to_owned();
    let cloud = [("OS_CLOUD", "coffer"), ("OS_CLIENT_CONFIG_FILE", file.as_str())];
    only(&roles, Strategy::Twin).await;
    let id = simulated(&api).await;

    let (code, told, said) = coffer(&cloud, &["orders", "10.4", "--dry-run"]).await;
    assert_eq!((code, said.as_str()), (0, ""), "{told}");
    assert_eq!(told, "mariadb 10.1 to mariadb 10.4\npossible: twin: nothing stands in its way\n");

    // For later: in the window, or at a time.
    crate::harness::have_no_window_now(&api).await;
    let (_, window) = api.read(&format!("/instances/{id}/window")).await.unwrap();
    let opens = window["window"]["next_start"].as_str().unwrap();
    let (code, told, said) =
        coffer(&cloud, &["orders", "10.4", "--dry-run", "--at", "2020-01-01T00:00:00Z"]).await;
    assert_eq!(code, 1, "{told}");
    assert!(said.contains("refused (400)") && said.contains("must not have passed"), "{said}");
    let day = (chrono::Utc::now() + chrono::TimeDelta::days(3)).format("%Y-%m-%dT10:00:00Z").to_string();
    for (arguments, starts) in [(&["--in-window"][..], opens), (&["--at", &day], &day)] {
        let (code, told, said) = coffer(&cloud, &[&["orders", "10.4"], arguments].concat()).await;
        assert_eq!((code, said.as_str()), (0, ""), "{told}");
        assert!(told.contains(&format!("\nbegins at {starts}\n")), "{told}");
        let task = told.split("task ").nth(1).unwrap().lines().next().unwrap();
        assert_eq!(api.post(&format!("/tasks/{task}/cancel"), &json!({})).await.unwrap().0, 202);
    }

    // A failure: its way back, and why.
    let simulation = format!("/mgmt/instances/{id}/simulation");
    admin.put(&simulation, &json!({"steps": {"drain": {"fault": "fail"}}})).await.unwrap();
    let (code, told, said) = coffer(&cloud, &[&id, "10.4", "--watch"]).await;
    assert_eq!((code, said.as_str()), (1, ""), "{told}");
    for line in
        ["drain: failed (", "back: reinstate: done (", "\nrolled back\n  reason: The step drain failed"]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    admin.put(&simulation, &json!({"steps": {}})).await.unwrap();

    let arguments = ["orders", "10.4", "--watch", "--strategy", "twin", "--keep-hours", "3"];
    let (code, told, said) = coffer(&cloud, &arguments).await;
    println!("{told}");
    assert_eq!((code, said.as_str()), (0, ""), "{told}");
    for line in [
        "examine: done (",
        "switch: done (",
        "retire: done (",
        "\nsucceeded\n",
        "the servers answered: 10.1.48 before, 10.4.34 now",
        "strategy: twin",
        "clients were held for ",
        "the old server's data is kept until 20",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains(['\r', '\x1b']), "a pipe gets plain lines: {told:?}");

    // Refused, and not understood.
    for (variables, arguments, code, reason) in [
        (&cloud[..], &["orders", "10.4"][..], 1, "is the version that the instance has"),
        (&cloud, &["orders", "99"], 1, "refused (400): Datastore version '99' cannot be found."),
        (&cloud, &["nobody", "10.4"], 1, "no instance of this project is called nobody"),
        (&cloud, &["00000000-0000-4000-8000-000000000000", "10.4"], 1, "refused (404)"),
        (&[cloud[1], ("OS_CLOUD", "coffer-reader")], &["orders", "10.4"], 1, "refused (403)"),
        (&[cloud[1], ("OS_CLOUD", "none")], &["orders", "10.4"], 2, "the cloud none is not in"),
        (&[], &["orders", "10.4"], 2, "OS_CLOUD"),
        (&[("OS_AUTH_URL", "http://127.0.0.1:1")], &["orders", "10.4"], 2, "is not set"),
        (&cloud, &["orders", "10.4", "--strategy", "replica"], 2, "twin"),
        (&cloud, &["orders", "10.4", "--keep-hours", "99999"], 2, "keep-hours"),
        (
            &cloud,
            &["orders", "10.4", "--in-window", "--at", "2100-01-01T00:00:00Z"],
            2,
            "cannot be used with",
        ),
        (&cloud, &["orders", "10.4", "--not-after", "2100-01-01T00:00:00Z"], 2, "--at"),
        (&cloud, &["orders"], 2, "TARGET"),
    ] {
        let (ended, told, said) = coffer(variables, arguments).await;
        assert_eq!(ended, code, "{arguments:?}: {told}{said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }

    // As an openrc has it; two of a name are not guessed at.
    let text = roles.clouds_yaml();
    let own = text.split("  coffer:\n").nth(1).unwrap();
    let value = |key: &str| own.split(&format!("{key}: \"")).nth(1).unwrap().split('"').next().unwrap();
    let openrc = [
        ("OS_AUTH_URL", value("auth_url")),
        ("OS_USERNAME", value("username")),
        ("OS_PASSWORD", value("password")),
        ("OS_PROJECT_NAME", value("project_name")),
    ];
    let second = simulated(&api).await;
    let (code, _, said) = coffer(&openrc, &["orders", "10.4"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("2 instances are called orders") && said.contains(&second), "{said}");
    let (code, told, said) = coffer(&openrc, &[&second, "10.4"]).await;
    assert_eq!((code, said.as_str()), (0, ""), "{told}");
    assert!(told.starts_with("mariadb 10.1 to mariadb 10.4, task "), "{told}");
    crate::upgrade::ended(&api, &second, std::time::Duration::from_secs(60)).await;
    delete(&api, &[&id, &second]).await;
}
