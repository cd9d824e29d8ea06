//! What a plugin author needs: guest bindings of the dpf:plugin worlds.
