//! The configuration file, read once into one immutable model.
