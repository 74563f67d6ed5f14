"""What every stage's loop needs: schedules, checkpoints, several processes."""
