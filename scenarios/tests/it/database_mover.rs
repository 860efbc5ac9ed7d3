//! Databases moved by the mover over the real connectors, engine by engine.
