//! The timer: one work item for each user.
//!
//! Nothing of the timer's own status matters, so a null or year-1 one is as good as any: an item says "up to now",
//! and the archive says from where.

use super::App;
use super::invocation::Answer;
use super::milestone::{Milestone, milestone};
use super::timer::send_to_all;
use crate::fetch_pages::FetchPages;

pub(super) async fn run(app: &App, milestone: &Milestone) -> anyhow::Result<Answer> {
    let environment = &app.environment;
    let to = environment.clock.now();
    let users = &environment.settings.users;
    send_to_all(&app.queue, users, |user| {
        FetchPages::of(user.name.clone(), Some(to))
    })
    .await?;
    milestone!(info, milestone, "users enqueued", users = users.len());
    Ok(Answer(format!("{} users enqueued", users.len())))
}
