//! Properties of the plan, the blocks and the message.

mod blocks;
mod message;
mod plan;
mod steps;
