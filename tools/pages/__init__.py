"""The pages of the documentation as data: their code blocks, what typing them prints, and how that is compared."""
