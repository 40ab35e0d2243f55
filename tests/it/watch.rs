//! A task's events: each change is heard of, nothing that is told runs backwards, and a stream leaves nothing behind.

use std::time::{Duration, Instant};

use coffer::cli::demo::client::Events;
use coffer::domain::upgrade::Strategy;
use serde_json::{Value, json};

use crate::harness::roles::{Role, Roles};
use crate::harness::{delete, wait_for};
use crate::upgrade::{only, patch, simulated};

/// Every view until the stream's end, and when it came.
async fn all(mut events: Events) -> Vec<(Instant, Value)> {
    let mut views = Vec::new();
    while let Some(view) = events.next().await.unwrap() {
        views.push((Instant::now(), view));
    }
    views
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_told_until_the_end() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    for (strategy, fails) in [(Strategy::InPlace, false), (Strategy::Twin, true)] {
        only(&roles, strategy).await;
        let id = simulated(&api).await;
        let mut steps = json!({"examine": {"ms": 700}, "place": {"ms": 700}, "ready": {"ms": 700}});
        if fails {
            steps["switch"] = json!({"fault": "fail"});
        }
        let simulation = format!("/mgmt/instances/{id}/simulation");
        admin.put(&simulation, &json!({"steps": steps})).await.unwrap();
        patch(&api, &id, "10.4").await;
        let task = api.task_of(&id).await.unwrap();
        let asked = Instant::now();
        let views = tokio::time::timeout(Duration::from_secs(60), all(api.events(&task).await.unwrap()));
        let views = views.await.unwrap();
        assert!(views[0].0 - asked < Duration::from_secs(1), "the first one comes at once");
        let last = &views.last().unwrap().1;
        assert_eq!(last["state"], if fails { "rolled_back" } else { "succeeded" }, "{last}");
        assert_eq!(*last, api.task(&task).await.unwrap(), "it is what the task's own route shows");
        let seen: Vec<&str> = views.iter().filter_map(|(_, view)| view["step"].as_str()).collect();
        for step in ["examine", "quiet"] {
            assert!(seen.contains(&step), "{step}: {seen:?}");
        }
        let mut percent = 0;
        let mut end: Option<Instant> = None;
        for (at, view) in &views {
            let now = view["percent"].as_u64().unwrap();
            assert!(now >= percent, "{view}");
            percent = now;
            if let (Some(eta), Some(false)) = (view["eta"].as_u64(), view["late"].as_bool()) {
                let told = *at + Duration::from_secs(eta);
                // Whole seconds are told, and the view takes its way.
                assert!(end.is_none_or(|end| told < end + Duration::from_millis(1_500)), "{view}");
                end = Some(end.map_or(told, |end| end.min(told)));
            }
        }
        assert!(end.is_some(), "an end was told");
        assert_eq!(percent == 100, !fails);
        if fails {
            assert!(percent > 50, "what was reached stays: {percent}");
        }
        // A task that has ended is told once.
        assert_eq!(all(api.events(&task).await.unwrap()).await.len(), 1);
        delete(&api, &[&id]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_and_leave_nothing() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    only(&roles, Strategy::InPlace).await;
    let id = simulated(&api).await;
    let simulation = format!("/mgmt/instances/{id}/simulation");
    admin.put(&simulation, &json!({"steps": {"quiet": {"fault": "hang"}}})).await.unwrap();
    patch(&api, &id, "10.4").await;
    let task = api.task_of(&id).await.unwrap();
    wait_for("it hangs", Duration::from_secs(30), async || {
        (api.task(&task).await.ok()?["step"] == "quiet").then_some(())
    })
    .await;
    // Who may: a reader, and an admin of another project; who else sees nothing.
    let said = roles.login("coffer-other").await.events(&task).await.err().unwrap().to_string();
    assert!(said.contains("404"), "{said}");
    let reader = roles.login("coffer-reader").await;
    let first = reader.events(&task).await.unwrap();
    let mut held = vec![first];
    while held.len() < 32 {
        held.push(api.events(&task).await.unwrap());
    }
    for client in [&api, &reader] {
        let said = client.events(&task).await.err().unwrap().to_string();
        assert!(said.contains("413"), "{said}");
    }
    let mut other = admin.events(&task).await.unwrap();
    assert_eq!(other.next().await.unwrap().unwrap()["step"], "quiet", "another project has its own");
    held.clear();
    // Who goes away is noticed by the next line that is written.
    let again =
        wait_for("there is room again", Duration::from_secs(40), async || api.events(&task).await.ok());
    let again = again.await;

    // A stream without news says that it is there, and one of a service that stops ends well.
    let url = format!("{}/tasks/{task}/events", api.base());
    let mut raw = wait_for("there is room for another", Duration::from_secs(40), async || {
        let asked = reqwest::Client::new().get(&url).header("x-auth-token", api.token());
        asked.send().await.ok().filter(|answer| answer.status() == 200)
    })
    .await;
    assert_eq!(raw.headers()["content-type"], "text/event-stream");
    assert_eq!(raw.headers()["cache-control"], "no-cache");
    let mut told = String::new();
    let began = Instant::now();
    while !told.ends_with("\n\n:\n\n") {
        assert!(began.elapsed() < Duration::from_secs(25), "{told}");
        let chunk = tokio::time::timeout(Duration::from_secs(20), raw.chunk()).await.unwrap();
        told += std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap();
    }
    assert!(told.starts_with("event: task\ndata: {\""), "{told}");
    rustix::process::kill_process(roles.pid(Role::Api), rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), all(again)).await.unwrap();
    assert_eq!(ended.len(), 1, "{ended:?}");
}
