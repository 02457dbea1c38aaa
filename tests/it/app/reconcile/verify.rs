//! `verify` on the same archive.

use std::time::Duration;

use fake_lastfm::Play;
use nix::sys::signal::Signal;

use super::{AtRest, DAY, written};

#[tokio::test]
async fn verify_looks_at_the_same_archive_and_repairs_it() {
    let scene = AtRest::start().await;
    let verify = |more: &[&str]| {
        let program = scene.command(&[&["verify", "rj", "--json"], more].concat());
        tokio::task::spawn_blocking(|| program.run())
    };
    verify(&[]).await.unwrap().expect(0);
    scene.change(|history| {
        history.add(Play::new(scene.now - 45 * DAY + 7, "Artist", "late"));
        history.delete(60 * 24 - 30);
        history.edit(200, |play| play.track = "Other title".to_owned());
    });
    let before = scene.world.all_blobs().await;
    let calls = scene.blobs.calls().len();
    // The edit is found by counting, too, if it is in the month of the late play.
    let ran = verify(&[]).await.unwrap().expect(3);
    let verdict = &ran.json_lines()[0];
    let [missing, vanished] = ["missing", "vanished"].map(|field| verdict[field].as_u64());
    assert!(missing == vanished && missing >= Some(1), "{verdict}");
    let ran = verify(&["--deep"]).await.unwrap().expect(3);
    let verdict = &ran.json_lines()[0];
    let told = (&verdict["missing"], &verdict["vanished"]);
    assert_eq!(told, (&2.into(), &2.into()), "{verdict}");
    let later = scene.blobs.calls().split_off(calls);
    let is_write = |call: &&crate::support::proxy::Call| {
        call.method != "GET" && call.method != "HEAD" && !call.path.ends_with("/budget.json")
    };
    assert_eq!(later.iter().filter(is_write).count(), 0, "{later:?}");
    assert!(scene.world.all_blobs().await == before);

    verify(&["--repair", "--deep"]).await.unwrap().expect(0);
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    assert_eq!((everything.late.len(), everything.removed.len()), (2, 2));
    let repaired = scene.world.all_blobs().await;
    verify(&["--repair", "--deep"]).await.unwrap().expect(0);
    assert!(scene.world.all_blobs().await == repaired, "idempotent");
    // What the command has noted is no news to the function.
    let line = scene.run(scene.now, "one").await;
    assert_eq!(written(&line), [0; 4], "{line}");
}

#[tokio::test]
async fn verify_waits_with_its_repair_until_the_archive_is_at_rest() {
    let scene = AtRest::start().await;
    scene.change(|history| history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late")));
    scene.blobs.blobs_look_older(0);
    let before = scene.world.all_blobs().await;
    let running = scene.command(&["verify", "rj", "--repair"]).start();
    let waited = tokio::task::spawn_blocking(move || {
        running.wait_for_stderr("waiting for", Duration::from_secs(30));
        running.signal(Signal::SIGINT);
        running.finish()
    });
    waited
        .await
        .unwrap()
        .expect(2)
        .says("the app may be writing");
    assert!(scene.world.all_blobs().await == before);
    // Looking alone waits for nothing.
    let program = scene.command(&["verify", "rj"]);
    let ran = tokio::task::spawn_blocking(|| program.run()).await.unwrap();
    ran.expect(3);
}
