//! One record per finished request, turned into the access line and the metrics.
