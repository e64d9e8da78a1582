//! Sockets, workers, drain and the admin listener.
