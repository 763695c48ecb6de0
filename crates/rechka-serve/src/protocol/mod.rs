//! The protocol of `/v1/stream`, as pure functions over messages.
//!
//! ```text
//! client                                            server
//!   {"encoding":"pcm_s16le","rate":48000,"channels":1}  ->
//!                        <- {"type":"ready","session":"…","next_frame":0,…}
//!   [frame number, 8 bytes little endian][samples]  ->
//!                        <- {"type":"ack","frame":4800}      everything before frame 4800 is durable
//!                        <- {"type":"partial",…}             replaced by the next one
//!                        <- {"type":"final",…}               never changes
//!   {"type":"end"}                                  ->
//!                        <- {"type":"final",…} … {"type":"end","seconds":4.2}, close 1000
//! ```
//!
//! A *frame* is one sample of every channel; a session counts its frames from 0. A client that was cut off says
//! `"session"` in its next hello, and `"after_segment": n` with the last final it has seen; it goes on at `next_frame`.
//! What it sends again is dropped to the frame; a gap is refused.
mod audio;
mod hello;
mod message;
mod refusal;
mod session_id;

pub use hello::{Hello, Pace, Task};
pub use message::{ClientMessage, ServerMessage};
pub use refusal::Refusal;
pub use session_id::SessionId;

pub(crate) use audio::{AudioMessage, Fit, fit};
