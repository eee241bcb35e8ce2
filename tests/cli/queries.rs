//! `engine sql` over what pipelines wrote and read.
