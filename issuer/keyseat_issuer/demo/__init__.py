"""The demo: the main job on this machine, act by act, with a throwaway vendor."""
