"""What every source uses: pauses, periods, threads, trends."""
