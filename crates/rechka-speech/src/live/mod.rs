//! Live recognition: sessions and streaming policies.
