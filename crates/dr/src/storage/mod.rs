//! The buckets: a copy in S3 that never deletes a good one, and the manifest that proves it.
