"""The checks of the exercises, a file a lesson; `xai_lessons.checks` says how to write one."""
