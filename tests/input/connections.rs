//! Connections that cannot work say so on both kinds, send nothing, and recover when corrected.
