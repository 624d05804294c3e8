"""`make chaos`: kill, damage and starve a small scan, run it again, and compare every bit with an undisturbed run."""
