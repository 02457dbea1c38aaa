//! What the simulated storage answers is what Azurite answers: one list of calls, each asked of both.
//!
//! Only calls that the program makes, as the SDK puts them on the wire, and of the answers only what the program reads:
//! status, error code, positions, ranges, lengths, bodies, whether an `ETag` is a new one, and that there is a `Date`.
//! What the simulation does not know it refuses loudly, so a new call of the program needs a line here first.
//! "Azure" in a comment is the real service, as Microsoft describes it: nobody has asked it from here.

mod blobs;
mod calls;
mod queues;
mod sides;
