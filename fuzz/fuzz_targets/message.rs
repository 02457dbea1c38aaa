//! The work item and the reconcile: whatever stands on their queues.
#![no_main]

use lastfm_archive::fetch_pages::{FetchPages, PAGE_SIZE_MAX, PAGES_MAX};
use lastfm_archive::queue::Message;
use lastfm_archive::reconcile_user::ReconcileUser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match FetchPages::parse(body) {
        Ok(item) => {
            assert!((1..=64).contains(&item.user.as_str().len()));
            assert!(item.to.is_none_or(|to| to >= 0));
            assert!(
                item.pages
                    .is_none_or(|pages| (1..=PAGES_MAX).contains(&pages))
            );
            assert!(
                item.page_size
                    .is_none_or(|size| (1..=PAGE_SIZE_MAX).contains(&size))
            );
            let again = FetchPages::parse(item.to_message().as_bytes());
            assert_eq!(again, Ok(item), "a work item reads back");
        }
        Err(reason) => assert!((1..=300).contains(&reason.len()), "{reason}"),
    }
    match ReconcileUser::parse(body) {
        Ok(message) => {
            assert!(message.to.is_none_or(|to| to >= 0));
            assert!(
                message
                    .run
                    .as_ref()
                    .is_none_or(|run| (1..=100).contains(&run.len()))
            );
            let again = ReconcileUser::parse(message.to_message().as_bytes());
            assert_eq!(again, Ok(message), "a reconcile reads back");
        }
        Err(reason) => assert!((1..=300).contains(&reason.len()), "{reason}"),
    }
});
